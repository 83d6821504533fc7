#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "engine/base/clock.h"

namespace sparkspan::engine {

// Hands values from many threads to many threads; holds at most `capacity`. After Close() nothing
// can be pushed and Pop() drains what is left. Thread-safe.
template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {}

  // False when the queue is full or closed; the value is then untouched.
  bool TryPush(T&& value) {
    {
      std::lock_guard lock(mutex_);
      if (closed_ || values_.size() >= capacity_) {
        return false;
      }
      values_.push_back(std::move(value));
    }
    not_empty_.notify_one();
    return true;
  }

  // Waits for room until `deadline`. False when there was none or the queue is closed.
  bool Push(T&& value, Time deadline) {
    {
      std::unique_lock lock(mutex_);
      if (!not_full_.wait_until(
              lock, deadline, [&] { return closed_ || values_.size() < capacity_; }) ||
          closed_) {
        return false;
      }
      values_.push_back(std::move(value));
    }
    not_empty_.notify_one();
    return true;
  }

  // Waits for a value until `deadline`. Empty when none came or the queue is closed and drained.
  std::optional<T> Pop(Time deadline) {
    std::optional<T> value;
    {
      std::unique_lock lock(mutex_);
      not_empty_.wait_until(lock, deadline, [&] { return closed_ || !values_.empty(); });
      if (values_.empty()) {
        return std::nullopt;
      }
      value.emplace(std::move(values_.front()));
      values_.pop_front();
    }
    not_full_.notify_one();
    return value;
  }

  std::optional<T> TryPop() { return Pop(Time::min()); }

  void Close() {
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
    }
    not_empty_.notify_all();
    not_full_.notify_all();
  }

  bool closed() const {
    std::lock_guard lock(mutex_);
    return closed_;
  }

  std::size_t size() const {
    std::lock_guard lock(mutex_);
    return values_.size();
  }

 private:
  const std::size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable not_empty_;
  std::condition_variable not_full_;
  std::deque<T> values_;
  bool closed_ = false;
};

}  // namespace sparkspan::engine
