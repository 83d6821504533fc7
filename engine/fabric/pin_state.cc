#include "engine/fabric/pin_state.h"

#include <vector>

#include "absl/strings/str_format.h"
#include "engine/fabric/interfaces.h"

namespace sparkspan::engine::fabric {

bool PinState::Apply(const LinkEvent& event) {
  const bool held = fault().empty();
  const bool is_own_link = event.interface == pin_.interface;
  const bool is_own_address = event.address == pin_.address;
  switch (event.kind) {
    case LinkEvent::Kind::kLinkUp:
      if (is_own_link) {
        link_fault_.clear();
      }
      break;
    case LinkEvent::Kind::kLinkDown:
      if (is_own_link) {
        link_fault_ =
            absl::StrFormat("interface %s lost its link; check the cable", pin_.interface);
      }
      break;
    case LinkEvent::Kind::kLinkRemoved:
      if (is_own_link) {
        link_fault_ = absl::StrFormat(
            "interface %s is gone; an unplugged cable can remove it, check the cable",
            pin_.interface);
      }
      break;
    case LinkEvent::Kind::kAddressRemoved:
      if (is_own_address) {
        address_fault_ = absl::StrFormat(
            "interface %s lost its address %s; find what configures the network "
            "again while it is in use",
            pin_.interface,
            ToString(pin_.address));
      }
      break;
    case LinkEvent::Kind::kAddressAdded:
      if (is_own_address) {
        address_fault_.clear();
      }
      break;
    case LinkEvent::Kind::kLost:
      break;
  }
  return held != fault().empty();
}

void PinState::Set(std::string fault) {
  link_fault_ = std::move(fault);
  address_fault_.clear();
}

std::string FindPinFault(const DeclaredPin& pin) {
  const KernelAddressSource addresses;
  const absl::StatusOr<std::vector<Interface>> interfaces = ListInterfaces("/sys", addresses);
  const absl::Status status = interfaces.ok()
                                  ? VerifyPin("pin", pin, *interfaces, addresses).status()
                                  : interfaces.status();
  return std::string(status.message());
}

}  // namespace sparkspan::engine::fabric
