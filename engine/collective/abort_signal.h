#pragma once

#include <mutex>

#include "absl/status/status.h"
#include "engine/base/unique_fd.h"

namespace sparkspan::engine::collective {

// Raised once, seen by polling threads at once: its descriptor becomes readable and stays so.
// Thread-safe.
class AbortSignal {
 public:
  AbortSignal();

  // The first reason stays. True when this was the first.
  bool Raise(absl::Status why);

  // OK while the signal has not been raised.
  absl::Status why() const;

  // For poll, with POLLIN; never read from it.
  int fd() const { return event_.get(); }

 private:
  mutable std::mutex mutex_;
  absl::Status why_;
  UniqueFd event_;
};

}  // namespace sparkspan::engine::collective
