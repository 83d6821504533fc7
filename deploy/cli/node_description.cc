#include "deploy/cli/node_description.h"

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/control_characters.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::config::NodeDescription;
using engine::fabric::Interface;
using engine::fabric::InterfaceAddress;

constexpr int kVersion = 2;
constexpr std::int64_t kInt32Max = std::numeric_limits<std::int32_t>::max();

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
          {"mac", interface.mac},
          {"phys_port_name", interface.phys_port_name},
          {"pci_address", interface.pci_address},
          {"rdma_devices", interface.rdma_devices},
          {"addresses", std::move(addresses)}};
}

// What a description may not say, though it is JSON of the right types.
struct Fault {
  std::string message;
};

// Text of one line, since it becomes a comment of cluster.yaml; `key` is for messages. Throws
// Fault.
std::string Line(const nlohmann::json& json, const char* key) {
  constexpr std::size_t kBytesMax = 128;
  std::string text = json.get<std::string>();
  if (text.size() > kBytesMax || engine::HasControlCharacters(text)) {
    throw Fault{absl::StrFormat(
        "%s: expected at most %d bytes without control characters", key, kBytesMax)};
  }
  return text;
}

// Throws Fault.
std::int64_t Integer(const nlohmann::json& json,
                     const char* key,
                     std::int64_t min,
                     std::int64_t max) {
  const nlohmann::json& value = json.at(key);
  if (!value.is_number_integer() || value.get<std::int64_t>() < min ||
      value.get<std::int64_t>() > max) {
    throw Fault{absl::StrFormat(
        "%s: found %s; expected an integer of %d to %d", key, value.dump(), min, max)};
  }
  return value.get<std::int64_t>();
}

// Throws Fault, and nlohmann's exceptions; ParseNodeDescription catches both.
Interface ReadInterface(const nlohmann::json& json) {
  Interface interface;
  interface.name = Line(json.at("name"), "name");
  interface.carrier = json.at("is_up").get<bool>();
  interface.operstate = interface.carrier ? "up" : "down";
  interface.is_wireless = json.at("is_wireless").get<bool>();
  interface.driver = json.at("is_virtual").get<bool>() ? "" : "physical";
  if (const std::int64_t mbps = Integer(json, "speed_mbps", 0, kInt32Max); mbps > 0) {
    interface.speed_mbps = mbps;
  }
  interface.mtu = Integer(json, "mtu", 0, kInt32Max);
  interface.mac = Line(json.at("mac"), "mac");
  interface.phys_port_name = Line(json.at("phys_port_name"), "phys_port_name");
  interface.pci_address = Line(json.at("pci_address"), "pci_address");
  for (const nlohmann::json& device : json.at("rdma_devices")) {
    interface.rdma_devices.push_back(Line(device, "rdma_devices"));
  }
  for (const nlohmann::json& held : json.at("addresses")) {
    const auto address = engine::fabric::ParseIpv4(held.at("address").get<std::string>());
    if (address.ok()) {
      const std::int64_t prefix_length = Integer(held, "prefix_length", 0, 32);
      interface.addresses.push_back({interface.name, *address, static_cast<int>(prefix_length)});
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
  if (json.find('\0') != std::string_view::npos) {  // nlohmann takes it for the end
    return absl::InvalidArgumentError(absl::StrFormat("%s: there is a NUL byte in it", file));
  }
  try {
    const nlohmann::json root = nlohmann::json::parse(json);
    if (root.at("version") != kVersion) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: its version is not %d; describe the node with the same release", file, kVersion));
    }
    NodeDescription node;
    node.name = Line(root.at("name"), "name");
    node.cpus = static_cast<std::int32_t>(Integer(root, "cpus", 1, engine::config::kCpuThreadsMax));
    for (const nlohmann::json& interface : root.at("interfaces")) {
      node.interfaces.push_back(ReadInterface(interface));
    }
    return node;
  } catch (const nlohmann::json::exception& fault) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: not what `sparkspan init --describe` prints: %s", file, fault.what()));
  } catch (const Fault& fault) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: %s", file, fault.message));
  }
}

}  // namespace sparkspan::deploy::cli
