#include "engine/config/node_pins.h"

#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/fabric/interfaces.h"

namespace sparkspan::engine::config {
namespace {

absl::StatusOr<fabric::VerifiedPin> Verify(const NodeConfig& node,
                                           const char* plane,
                                           const fabric::DeclaredPin& pin) {
  const fabric::KernelAddressSource addresses;
  ASSIGN_OR_RETURN(const std::vector<fabric::Interface> interfaces,
                   fabric::ListInterfaces("/sys", addresses));
  const std::string key = absl::StrFormat("node %s: %s.interface", node.name, plane);
  return fabric::VerifyPin(key, pin, interfaces, addresses);
}

absl::Status UnlessWaitingHelps(const absl::Status& status) {
  return absl::IsUnavailable(status) ? absl::OkStatus() : status;
}

}  // namespace

absl::StatusOr<fabric::VerifiedPin> VerifyControlPin(const NodeConfig& node) {
  return Verify(node, "control", node.control);
}

absl::StatusOr<fabric::VerifiedPin> VerifyBootstrapPin(const NodeConfig& node) {
  return Verify(node, "bootstrap", node.bootstrap);
}

absl::Status CheckControlPin(const NodeConfig& node) {
  return UnlessWaitingHelps(VerifyControlPin(node).status());
}

absl::Status CheckBootstrapPin(const NodeConfig& node) {
  return UnlessWaitingHelps(VerifyBootstrapPin(node).status());
}

std::vector<fabric::PlanePin> PlanePins(const NodeConfig& node) {
  std::vector<fabric::PlanePin> pins = {{.pin = node.control, .control = true, .data = false}};
  if (node.bootstrap == node.control) {
    pins[0].data = !node.ranks.empty();
  } else if (!node.ranks.empty()) {
    pins.push_back({.pin = node.bootstrap, .control = false, .data = true});
  }
  return pins;
}

}  // namespace sparkspan::engine::config
