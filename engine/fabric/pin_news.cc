#include "engine/fabric/pin_news.h"

#include <utility>

#include "engine/base/log.h"
#include "engine/base/status.h"

namespace sparkspan::engine::fabric {
namespace {

void Append(const DeclaredPin& pin,
            std::vector<std::string> faults,
            std::vector<PinChange>* changes) {
  for (std::string& fault : faults) {
    changes->push_back({pin, std::move(fault)});
  }
}

}  // namespace

absl::StatusOr<PinNews> PinNews::Open(std::vector<DeclaredPin> pins) {
  ASSIGN_OR_RETURN(LinkEvents events, LinkEvents::Open());
  return PinNews(std::move(events), std::move(pins));
}

// The states look only now that news are kept: nothing is missed in between.
PinNews::PinNews(LinkEvents events, std::vector<DeclaredPin> pins) : events_(std::move(events)) {
  for (DeclaredPin& pin : pins) {
    states_.emplace_back(std::move(pin));
  }
}

std::vector<PinChange> PinNews::Take(Time now) {
  std::vector<PinChange> changes;
  absl::StatusOr<std::vector<LinkEvent>> events = std::vector<LinkEvent>();
  if (events_.has_value()) {
    events = events_->Wait(Time());
    if (!events.ok()) {
      LOG(ERROR) << "the kernel's news of interfaces have ended, they are looked at instead: "
                 << events.status().message();
      events_.reset();
      events = std::vector<LinkEvent>();
    }
  }
  for (const LinkEvent& event : *events) {
    for (PinState& state : states_) {
      Append(state.pin(), state.Apply(event), &changes);
    }
  }
  if (now >= look_at_) {
    look_at_ = now + kLookInterval;
    for (PinState& state : states_) {
      if (state.must_look() || !events_.has_value()) {
        Append(state.pin(), state.LookAgain(), &changes);
      }
    }
  }
  return changes;
}

}  // namespace sparkspan::engine::fabric
