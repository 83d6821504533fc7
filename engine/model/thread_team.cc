#include "engine/model/thread_team.h"

#include <string>

#include "engine/base/log.h"

namespace sparkspan::engine::model {
namespace {

// Reads of an atomic before a thread goes to sleep: some microseconds, longer than the gap between
// two operations of a step, shorter than it takes to matter to another process.
constexpr int kSpins = 2000;

// Waits until `value` is no longer `old`.
void WaitWhile(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (value.load(std::memory_order_acquire) != old) {
      return;
    }
  }
  while (value.load(std::memory_order_acquire) == old) {
    value.wait(old, std::memory_order_acquire);
  }
}

}  // namespace

ThreadTeam::ThreadTeam(int threads) : threads_(threads) {
  CHECK_GE(threads, 1);
  CHECK_LE(threads, 256);
  for (int thread = 1; thread < threads; ++thread) {
    workers_.emplace_back("team-" + std::to_string(thread), [this, thread] { Work(thread); });
  }
}

ThreadTeam::~ThreadTeam() {
  stop_.store(true, std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  workers_.clear();  // Joins.
}

void ThreadTeam::RunShare(int thread) const {
  const std::int64_t units = (items_ + grain_ - 1) / grain_;
  const std::int64_t begin = units * thread / threads_ * grain_;
  const std::int64_t end = std::min(items_, units * (thread + 1) / threads_ * grain_);
  if (begin < end) {
    (*body_)(begin, end, thread);
  }
}

void ThreadTeam::Work(int thread) {
  std::uint32_t round = 0;
  while (true) {
    WaitWhile(round_, round);
    ++round;
    if (stop_.load(std::memory_order_relaxed)) {
      return;
    }
    RunShare(thread);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      busy_.notify_one();
    }
  }
}

void ThreadTeam::Run(std::int64_t items,
                     std::int64_t grain,
                     const std::function<void(std::int64_t, std::int64_t, int)>& body) {
  if (items <= 0) {
    return;
  }
  if (threads_ == 1 || items <= grain) {
    body(0, items, 0);
    return;
  }
  items_ = items;
  grain_ = grain;
  body_ = &body;
  busy_.store(static_cast<std::uint32_t>(threads_ - 1), std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  RunShare(0);
  for (std::uint32_t left = busy_.load(std::memory_order_acquire); left != 0;
       left = busy_.load(std::memory_order_acquire)) {
    WaitWhile(busy_, left);
  }
}

}  // namespace sparkspan::engine::model
