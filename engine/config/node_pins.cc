#include "engine/config/node_pins.h"

#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/fabric/interfaces.h"

namespace sparkspan::engine::config {
namespace {

absl::Status Verify(const NodeConfig& node, const char* plane, const fabric::DeclaredPin& pin) {
  const fabric::KernelAddressSource addresses;
  ASSIGN_OR_RETURN(const std::vector<fabric::Interface> interfaces,
                   fabric::ListInterfaces("/sys", addresses));
  const std::string key = absl::StrFormat("node %s: %s.interface", node.name, plane);
  return fabric::VerifyPin(key, pin, interfaces, addresses).status();
}

}  // namespace

absl::Status VerifyControlPin(const NodeConfig& node) {
  return Verify(node, "control", node.control);
}

absl::Status VerifyPins(const NodeConfig& node) {
  RETURN_IF_ERROR(VerifyControlPin(node));
  return Verify(node, "bootstrap", node.bootstrap);
}

}  // namespace sparkspan::engine::config
