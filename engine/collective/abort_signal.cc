#include "engine/collective/abort_signal.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/log.h"

namespace sparkspan::engine::collective {

AbortSignal::AbortSignal() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(event_.valid()) << "no descriptor is left for an event: " << std::strerror(errno);
}

bool AbortSignal::Raise(absl::Status why) {
  CHECK(!why.ok()) << "an abort needs a reason";
  const std::lock_guard lock(mutex_);
  if (!why_.ok()) {
    return false;
  }
  why_ = std::move(why);
  CHECK_EQ(eventfd_write(event_.get(), 1), 0);
  return true;
}

absl::Status AbortSignal::why() const {
  const std::lock_guard lock(mutex_);
  return why_;
}

}  // namespace sparkspan::engine::collective
