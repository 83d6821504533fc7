#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/fabric/link_events.h"
#include "engine/fabric/pin.h"
#include "engine/fabric/pin_state.h"

namespace sparkspan::engine::fabric {

// A pin that does not hold, or holds again: then `fault` is empty.
struct PinChange {
  DeclaredPin pin;
  std::string fault;
};

// What becomes of declared pins of this machine, for a thread that polls: a cable that is pulled is
// known at once, not when a packet is missed. One thread at a time.
class PinNews {
 public:
  // The pins need not hold yet.
  static absl::StatusOr<PinNews> Open(std::vector<DeclaredPin> pins);

  // Readable when there are news; -1 when the kernel sends none any more.
  int fd() const { return events_.has_value() ? events_->fd() : -1; }

  // [pins], as of the last Take.
  const std::vector<PinState>& states() const { return states_; }

  // What has changed. Does not wait for news. To be called when fd() is readable and at least every
  // kLookInterval.
  std::vector<PinChange> Take(Time now);
  static constexpr std::chrono::seconds kLookInterval{1};

 private:
  PinNews(LinkEvents events, std::vector<DeclaredPin> pins);

  std::optional<LinkEvents> events_;
  std::vector<PinState> states_;
  Time look_at_;
};

}  // namespace sparkspan::engine::fabric
