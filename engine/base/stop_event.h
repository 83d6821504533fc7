#pragma once

#include "absl/status/statusor.h"
#include "engine/base/unique_fd.h"

namespace sparkspan::engine {

// Tells threads that wait in poll() to end. Thread-safe.
class StopEvent {
 public:
  // Unavailable: the process has no descriptor left.
  static absl::StatusOr<StopEvent> Create();

  // Readable from the first Set() on, for every thread that polls it.
  int fd() const { return descriptor_.get(); }
  void Set() const;

 private:
  explicit StopEvent(UniqueFd descriptor) : descriptor_(std::move(descriptor)) {}

  UniqueFd descriptor_;
};

}  // namespace sparkspan::engine
