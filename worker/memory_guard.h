#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "engine/base/thread.h"
#include "engine/weights/host_memory.h"

namespace sparkspan::worker {

struct MemoryReport {
  std::int64_t available_bytes = 0;  // to this process; 0: not known
  std::string shortage;              // in words; empty while there is enough
  bool is_exhausted = false;         // the rank must end before the kernel chooses what to end

  bool operator==(const MemoryReport&) const = default;
};

// When memory is short, by what a node is to keep free (docs/decisions/0022). Pure.
class MemoryFloor {
 public:
  // 0: it never is.
  explicit MemoryFloor(std::int64_t reserve_bytes) : reserve_bytes_(reserve_bytes) {}

  // In the order in which it was measured: a shortage ends some way above where it begins.
  MemoryReport Judge(std::int64_t available_bytes);

 private:
  const std::int64_t reserve_bytes_;
  bool is_low_ = false;
};

// Looks at the machine's memory a few times a second on a thread of its own: what is taken there
// after start-up, by whomever, must not freeze it. Thread-safe.
class MemoryGuard {
 public:
  using Read = std::function<absl::StatusOr<engine::weights::AvailableMemory>()>;
  // Called once, by the guard's thread.
  using OnExhausted = std::function<void(const std::string& shortage)>;

  MemoryGuard(std::int64_t reserve_bytes, Read read, OnExhausted on_exhausted);
  ~MemoryGuard();
  MemoryGuard(const MemoryGuard&) = delete;
  MemoryGuard& operator=(const MemoryGuard&) = delete;

  // An exhaustion stays.
  MemoryReport report() const;

 private:
  void Run();
  void Look();

  const Read read_;
  const OnExhausted on_exhausted_;
  MemoryFloor floor_;  // of the thread alone

  mutable std::mutex mutex_;  // of what follows
  std::condition_variable stop_changed_;
  bool stopping_ = false;
  MemoryReport report_;

  engine::Thread thread_;  // last: it uses all of the above
};

}  // namespace sparkspan::worker
