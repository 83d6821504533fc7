#include "engine/base/stop_event.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "engine/base/log.h"

namespace sparkspan::engine {

absl::StatusOr<StopEvent> StopEvent::Create() {
  UniqueFd descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!descriptor.valid()) {
    return absl::UnavailableError(std::string("cannot make an eventfd: ") + std::strerror(errno));
  }
  return StopEvent(std::move(descriptor));
}

void StopEvent::Set() const {
  CHECK_EQ(eventfd_write(descriptor_.get(), 1), 0);  // Nobody reads it, so that it stays set.
}

}  // namespace sparkspan::engine
