#include "engine/fabric/pin_state.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/fabric/interfaces.h"

namespace sparkspan::engine::fabric {

absl::StatusOr<VerifiedPin> LookAtPin(const DeclaredPin& pin) {
  const KernelAddressSource addresses;
  ASSIGN_OR_RETURN(const std::vector<Interface> interfaces, ListInterfaces("/sys", addresses));
  return VerifyPin("pin", pin, interfaces, addresses);
}

PinState::PinState(DeclaredPin pin, Look look) : pin_(std::move(pin)), look_(std::move(look)) {
  Take(look_(pin_));
}

std::string PinState::LossIn(const LinkEvent& event) const {
  const bool held = fault_.empty();
  switch (event.kind) {
    case LinkEvent::Kind::kLinkRemoved:
      if (event.interface == pin_.interface) {
        return absl::StrFormat(
            "interface %s is gone; an unplugged cable can remove it, check the cable",
            pin_.interface);
      }
      break;
    case LinkEvent::Kind::kLinkDown:
      if (held && event.interface == pin_.interface) {
        return absl::StrFormat("interface %s lost its link; check the cable", pin_.interface);
      }
      break;
    case LinkEvent::Kind::kAddressRemoved:
      // Another interface may have held the same address.
      if (held && event.address == pin_.address && event.interface_index == interface_index_) {
        return absl::StrFormat(
            "interface %s lost its address %s; find what configures the network "
            "again while it is in use",
            pin_.interface,
            ToString(pin_.address));
      }
      break;
    case LinkEvent::Kind::kLinkUp:
    case LinkEvent::Kind::kAddressAdded:
    case LinkEvent::Kind::kLost:
      break;
  }
  return "";
}

bool PinState::Concerns(const LinkEvent& event) const {
  switch (event.kind) {
    case LinkEvent::Kind::kLinkUp:
    case LinkEvent::Kind::kLinkDown:
    case LinkEvent::Kind::kLinkRemoved:
      return event.interface == pin_.interface;
    case LinkEvent::Kind::kAddressAdded:
    case LinkEvent::Kind::kAddressRemoved:
      return event.address == pin_.address;
    case LinkEvent::Kind::kLost:
      return true;
  }
  return true;
}

std::vector<std::string> PinState::Apply(const LinkEvent& event) {
  if (std::string loss = LossIn(event); !loss.empty()) {
    if (event.kind == LinkEvent::Kind::kLinkRemoved) {
      interface_index_ = 0;
    }
    std::vector<std::string> changes;
    Become(std::move(loss), &changes);
    return changes;
  }
  return Concerns(event) ? Take(look_(pin_)) : std::vector<std::string>();
}

std::vector<std::string> PinState::LookAgain() {
  const absl::StatusOr<VerifiedPin> seen = look_(pin_);
  return seen.ok() || fault_.empty() ? Take(seen) : std::vector<std::string>();
}

std::vector<std::string> PinState::Take(const absl::StatusOr<VerifiedPin>& seen) {
  is_unsure_ = absl::IsDeadlineExceeded(seen.status());
  std::vector<std::string> changes;
  if (is_unsure_) {
    return changes;  // The kernel does not answer: nothing is known anew.
  }
  if (!seen.ok()) {
    Become(std::string(seen.status().message()), &changes);
    return changes;
  }
  if (interface_index_ != 0 && seen->interface_index != interface_index_) {
    Become(absl::StrFormat("interface %s was made anew; sockets are bound to what it was",
                           pin_.interface),
           &changes);
  }
  interface_index_ = seen->interface_index;
  Become("", &changes);
  return changes;
}

void PinState::Become(std::string fault, std::vector<std::string>* changes) {
  if (fault != fault_) {
    fault_ = std::move(fault);
    changes->push_back(fault_);
  }
}

}  // namespace sparkspan::engine::fabric
