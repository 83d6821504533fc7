#include "worker/memory_guard.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"

namespace sparkspan::worker {
namespace {

constexpr std::chrono::milliseconds kLookInterval{250};
// Of the reserve, in tenths: less is short, until there is as much again; less still is the end.
constexpr std::int64_t kLowTenths = 6;
constexpr std::int64_t kEnoughTenths = 8;
constexpr std::int64_t kExhaustedTenths = 3;

}  // namespace

MemoryReport MemoryFloor::Judge(std::int64_t available_bytes) {
  MemoryReport report;
  report.available_bytes = available_bytes;
  const std::int64_t tenth = reserve_bytes_ / 10;
  is_low_ = available_bytes < (is_low_ ? kEnoughTenths : kLowTenths) * tenth;
  report.is_exhausted = available_bytes < kExhaustedTenths * tenth;
  if (is_low_) {
    report.shortage = absl::StrFormat(
        "only %d MiB of memory are to be had, of limits.memory_reserve %d MiB; find what has taken "
        "it, or leave less to the KV cache%s",
        available_bytes >> 20,
        reserve_bytes_ >> 20,
        report.is_exhausted ? "; the rank ends before the machine freezes" : "");
  }
  return report;
}

MemoryGuard::MemoryGuard(std::int64_t reserve_bytes, Read read, OnExhausted on_exhausted)
    : read_(std::move(read)),
      on_exhausted_(std::move(on_exhausted)),
      floor_(reserve_bytes),
      thread_("memory guard", [this] { Run(); }) {}

MemoryGuard::~MemoryGuard() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_changed_.notify_all();
  thread_.Join();
}

MemoryReport MemoryGuard::report() const {
  const std::lock_guard lock(mutex_);
  return report_;
}

void MemoryGuard::Run() {
  while (true) {
    Look();
    std::unique_lock lock(mutex_);
    if (report_.is_exhausted ||
        stop_changed_.wait_for(lock, kLookInterval, [&] { return stopping_; })) {
      return;
    }
  }
}

void MemoryGuard::Look() {
  const absl::StatusOr<engine::weights::AvailableMemory> available = read_();
  if (!available.ok()) {
    return;  // Start-up has read it and would have said so.
  }
  const MemoryReport now = floor_.Judge(available->bytes);
  std::string before;
  {
    const std::lock_guard lock(mutex_);
    before = std::exchange(report_, now).shortage;
  }
  if (before.empty() != now.shortage.empty()) {
    LOG(WARNING) << (now.shortage.empty() ? "there is enough memory again" : now.shortage);
  }
  if (now.is_exhausted) {
    on_exhausted_(now.shortage);
  }
}

}  // namespace sparkspan::worker
