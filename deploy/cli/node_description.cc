#include "deploy/cli/node_description.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::config::NodeDescription;
using engine::fabric::Interface;
using engine::fabric::InterfaceAddress;

constexpr int kVersion = 1;

nlohmann::ordered_json InterfaceJson(const Interface& interface) {
  nlohmann::ordered_json addresses = nlohmann::ordered_json::array();
  for (const InterfaceAddress& held : interface.addresses) {
    addresses.push_back(
        {{"address", ToString(held.address)}, {"prefix_length", held.prefix_length}});
  }
  return {{"name", interface.name},
          {"is_up", interface.is_up()},
          {"is_wireless", interface.is_wireless},
          {"is_virtual", interface.is_virtual()},
          {"speed_mbps", interface.speed_mbps.value_or(0)},
          {"mtu", interface.mtu},
          {"phys_port_name", interface.phys_port_name},
          {"pci_address", interface.pci_address},
          {"rdma_devices", interface.rdma_devices},
          {"addresses", std::move(addresses)}};
}

// Throws nlohmann's exceptions, which ParseNodeDescription catches.
Interface ReadInterface(const nlohmann::json& json) {
  Interface interface;
  interface.name = json.at("name").get<std::string>();
  interface.operstate = json.at("is_up").get<bool>() ? "up" : "down";
  interface.is_wireless = json.at("is_wireless").get<bool>();
  interface.driver = json.at("is_virtual").get<bool>() ? "" : "physical";
  if (const auto mbps = json.at("speed_mbps").get<std::int64_t>(); mbps > 0) {
    interface.speed_mbps = mbps;
  }
  interface.mtu = json.at("mtu").get<std::int64_t>();
  interface.phys_port_name = json.at("phys_port_name").get<std::string>();
  interface.pci_address = json.at("pci_address").get<std::string>();
  interface.rdma_devices = json.at("rdma_devices").get<std::vector<std::string>>();
  for (const nlohmann::json& held : json.at("addresses")) {
    const auto address = engine::fabric::ParseIpv4(held.at("address").get<std::string>());
    if (address.ok()) {
      interface.addresses.push_back(
          {interface.name, *address, held.at("prefix_length").get<int>()});
    }
  }
  return interface;
}

}  // namespace

std::string ToJson(const NodeDescription& node) {
  nlohmann::ordered_json root = {{"version", kVersion}, {"name", node.name}, {"cpus", node.cpus}};
  root["interfaces"] = nlohmann::ordered_json::array();
  for (const Interface& interface : node.interfaces) {
    root["interfaces"].push_back(InterfaceJson(interface));
  }
  return root.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

absl::StatusOr<NodeDescription> ParseNodeDescription(std::string_view json,
                                                     const std::string& file) {
  try {
    const nlohmann::json root = nlohmann::json::parse(json);
    if (root.at("version").get<int>() != kVersion) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: its version is not %d; describe the node with the same release", file, kVersion));
    }
    NodeDescription node;
    node.name = root.at("name").get<std::string>();
    node.cpus = root.at("cpus").get<std::int32_t>();
    for (const nlohmann::json& interface : root.at("interfaces")) {
      node.interfaces.push_back(ReadInterface(interface));
    }
    return node;
  } catch (const nlohmann::json::exception& fault) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: not what `sparkspan init --describe` prints: %s", file, fault.what()));
  }
}

}  // namespace sparkspan::deploy::cli
