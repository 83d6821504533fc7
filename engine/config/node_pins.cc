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

// As NCCL names what carries its exchanges.
const char* NetName(DataTransport transport) {
  switch (transport) {
    case DataTransport::kRails:
      return "IB";
    case DataTransport::kTcp:
      return "TCP";
    case DataTransport::kLocal:
      break;
  }
  return "";
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

std::vector<fabric::PlanePin> PlanePins(const ClusterConfig& config, const NodeConfig& node) {
  std::vector<fabric::PlanePin> pins = {{.pin = node.control, .control = true}};
  if (!node.ranks.empty() && !(node.bootstrap == node.control)) {
    pins.push_back({.pin = node.bootstrap});
  }
  for (const NodeConfig& peer : config.nodes) {
    if (peer.name == config.head && peer.name != node.name) {
      pins.front().peers.push_back(peer.control.address);
    }
    if (!peer.ranks.empty() && !node.ranks.empty() && peer.name != node.name) {
      pins.back().peers.push_back(peer.bootstrap.address);
    }
  }
  if (!node.ranks.empty()) {
    pins.back().data = true;
    pins.back().net = NetName(node.data);
  }
  return pins;
}

fabric::PlanePin HeadPin(const ClusterConfig& config, const NodeConfig& node) {
  fabric::PlanePin pin{.pin = node.control, .control = true};
  for (const NodeConfig& peer : config.nodes) {
    if (!peer.ranks.empty() && peer.name != node.name) {
      pin.peers.push_back(peer.control.address);
    }
  }
  return pin;
}

}  // namespace sparkspan::engine::config
