#include "head/api/generation.h"

#include <algorithm>
#include <utility>

#include "engine/base/log.h"

namespace sparkspan::head::api {
namespace {

std::size_t BytesOf(const GenerationEvent& event) {
  std::size_t bytes = sizeof(GenerationEvent);
  for (const engine::runtime::CommittedToken& token : event.tokens) {
    bytes += sizeof(token) + token.top.size() * sizeof(engine::runtime::TokenLogprob);
  }
  return bytes;
}

}  // namespace

void StreamWaker::Wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_all();
}

void StreamWaker::Wait(engine::Time deadline) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [&] { return woken_; });
  woken_ = false;
}

void GenerationStream::NotifyReader() {
  std::shared_ptr<StreamWaker> waker;
  {
    const std::lock_guard lock(mutex_);
    waker = waker_;
  }
  changed_.notify_all();
  if (waker != nullptr) {
    waker->Wake();
  }
}

void GenerationStream::Attach(std::shared_ptr<StreamWaker> waker) {
  const std::lock_guard lock(mutex_);
  waker_ = std::move(waker);
}

bool GenerationStream::Push(GenerationEvent event) {
  {
    std::lock_guard lock(mutex_);
    if (cancelled_) {
      return false;
    }
    CHECK(!finish_pushed_) << "an event after the finish of its stream";
    const std::size_t bytes = BytesOf(event);
    // The finish always fits, or a reader that caught up would wait for ever.
    if (bytes_ + bytes > bytes_max_ && !event.finish.has_value()) {
      overflowed_ = true;
      cancelled_ = true;
      events_.clear();
      bytes_ = 0;
    } else {
      finish_pushed_ = event.finish.has_value();
      bytes_ += bytes;
      events_.push_back(std::move(event));
    }
  }
  NotifyReader();
  return !cancelled();
}

void GenerationStream::MarkScheduled(engine::Time now) {
  std::lock_guard lock(mutex_);
  if (!scheduled_.has_value()) {
    scheduled_ = now;
  }
}

bool GenerationStream::cancelled() const {
  std::lock_guard lock(mutex_);
  return cancelled_;
}

std::optional<GenerationEvent> GenerationStream::Pop(engine::Time deadline) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(
      lock, deadline, [&] { return cancelled_ || finish_pushed_ || !events_.empty(); });
  if (events_.empty()) {
    return std::nullopt;
  }
  GenerationEvent event = std::move(events_.front());
  events_.pop_front();
  bytes_ -= std::min(bytes_, BytesOf(event));
  return event;
}

bool GenerationStream::done() const {
  std::lock_guard lock(mutex_);
  return events_.empty() && (cancelled_ || finish_pushed_);
}

void GenerationStream::Cancel() {
  {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    events_.clear();
    bytes_ = 0;
  }
  NotifyReader();
}

bool GenerationStream::overflowed() const {
  std::lock_guard lock(mutex_);
  return overflowed_;
}

std::optional<engine::Time> GenerationStream::scheduled() const {
  std::lock_guard lock(mutex_);
  return scheduled_;
}

std::string_view EngineStateName(EngineState state) {
  switch (state) {
    case EngineState::kStarting:
      return "starting";
    case EngineState::kReady:
      return "ready";
    case EngineState::kDegraded:
      return "degraded";
    case EngineState::kDraining:
      return "draining";
    case EngineState::kFailed:
      return "failed";
  }
  return "unknown";
}

void StepTokens::Observe(std::int64_t tokens) {
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), tokens);
  ++counts[static_cast<std::size_t>(bound - kBounds.begin())];
  sum += static_cast<std::uint64_t>(std::max<std::int64_t>(tokens, 0));
}

}  // namespace sparkspan::head::api
