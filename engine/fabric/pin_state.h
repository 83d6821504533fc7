#pragma once

#include <string>
#include <utility>

#include "engine/fabric/link_events.h"
#include "engine/fabric/pin.h"

namespace sparkspan::engine::fabric {

// Whether a pin that was verified still holds, as the kernel's news tell it. Pure.
class PinState {
 public:
  explicit PinState(DeclaredPin pin) : pin_(std::move(pin)) {}

  const DeclaredPin& pin() const { return pin_; }

  // Why the pin does not hold, naming the interface; empty while it does.
  std::string fault() const { return link_fault_.empty() ? address_fault_ : link_fault_; }

  // Takes an event in; true when it changed whether the pin holds. After kLost the caller looks for
  // itself and says what it saw by Set.
  bool Apply(const LinkEvent& event);
  void Set(std::string fault);

 private:
  DeclaredPin pin_;
  std::string link_fault_;
  std::string address_fault_;
};

// Looks at this machine as it is now: empty when the pin holds, otherwise the fault.
std::string FindPinFault(const DeclaredPin& pin);

}  // namespace sparkspan::engine::fabric
