#include "engine/config/check_cluster_config.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

namespace sparkspan::engine::config {
namespace {

using Fault = std::optional<ConfigFault>;

constexpr int kRanksMax = 64;
constexpr int kHeartbeatsPerSilence = 3;

std::string NodeKey(std::size_t index) {
  return absl::StrFormat("nodes[%d]", index);
}

const NodeConfig* FindNode(const ClusterConfig& config, const std::string& name) {
  const auto found = std::find_if(config.nodes.begin(),
                                  config.nodes.end(),
                                  [&](const NodeConfig& node) { return node.name == name; });
  return found == config.nodes.end() ? nullptr : &*found;
}

// The first of `nodes` that holds ranks.
const NodeConfig* FirstWithRanks(const ClusterConfig& config) {
  const auto found = std::find_if(config.nodes.begin(),
                                  config.nodes.end(),
                                  [](const NodeConfig& node) { return !node.ranks.empty(); });
  return found == config.nodes.end() ? nullptr : &*found;
}

Fault CheckNodeNames(const ClusterConfig& config) {
  std::map<std::string, std::size_t> seen;
  for (std::size_t i = 0; i < config.nodes.size(); ++i) {
    const auto [first, fresh] = seen.emplace(config.nodes[i].name, i);
    if (!fresh) {
      return ConfigFault{NodeKey(i) + ".name",
                         absl::StrFormat("found '%s', which is also %s; names are unique",
                                         config.nodes[i].name,
                                         NodeKey(first->second))};
    }
  }
  if (FindNode(config, config.head) == nullptr) {
    std::string names;
    for (const NodeConfig& node : config.nodes) {
      names += (names.empty() ? "" : ", ") + node.name;
    }
    return ConfigFault{
        "head",
        absl::StrFormat("found '%s', which is no node; expected one of: %s", config.head, names)};
  }
  return std::nullopt;
}

Fault CheckRankNumbers(const ClusterConfig& config) {
  const int ranks = config.ranks();
  if (ranks < 1 || ranks > kRanksMax) {
    return ConfigFault{
        "nodes",
        absl::StrFormat("found %d ranks; expected 1 to %d over all nodes", ranks, kRanksMax)};
  }
  std::map<std::int32_t, std::string> seen;
  for (std::size_t i = 0; i < config.nodes.size(); ++i) {
    for (std::size_t j = 0; j < config.nodes[i].ranks.size(); ++j) {
      const std::string key = absl::StrFormat("%s.ranks[%d].rank", NodeKey(i), j);
      const std::int32_t rank = config.nodes[i].ranks[j].rank.value();
      const auto [first, fresh] = seen.emplace(rank, key);
      if (!fresh) {
        return ConfigFault{
            key,
            absl::StrFormat(
                "found %d, which %s has already; ranks are unique", rank, first->second)};
      }
      if (rank < 0 || rank >= ranks) {
        return ConfigFault{key,
                           absl::StrFormat("found %d, but %d ranks are declared; expected each of "
                                           "0 to %d once",
                                           rank,
                                           ranks,
                                           ranks - 1)};
      }
    }
  }
  return std::nullopt;
}

Fault CheckPorts(const ClusterConfig& config) {
  for (std::size_t i = 0; i < config.nodes.size(); ++i) {
    const NodeConfig& node = config.nodes[i];
    std::vector<std::pair<std::string, std::uint16_t>> ports;
    if (node.name == config.head) {
      ports.emplace_back("api.port", config.api.port);
    }
    for (std::size_t j = 0; j < node.ranks.size(); ++j) {
      const std::string key = absl::StrFormat("%s.ranks[%d]", NodeKey(i), j);
      ports.emplace_back(key + ".control_port", node.ranks[j].control_port);
      ports.emplace_back(key + ".data_port", node.ranks[j].data_port);
    }
    std::map<std::uint16_t, std::string> seen;
    for (const auto& [key, port] : ports) {
      const auto [first, fresh] = seen.emplace(port, key);
      if (!fresh) {
        return ConfigFault{key,
                           absl::StrFormat("found %d, which %s of node '%s' has already; ports are "
                                           "unique on a node",
                                           port,
                                           first->second,
                                           node.name)};
      }
    }
  }
  return std::nullopt;
}

Fault CheckAddresses(const ClusterConfig& config) {
  std::map<fabric::Ipv4Address, std::size_t> owner;
  for (std::size_t i = 0; i < config.nodes.size(); ++i) {
    const NodeConfig& node = config.nodes[i];
    for (const auto& [plane, pin] :
         {std::pair("control", &node.control), std::pair("bootstrap", &node.bootstrap)}) {
      const std::string key = absl::StrFormat("%s.%s.address", NodeKey(i), plane);
      const std::string address = fabric::ToString(pin->address);
      if (pin->address.IsLoopback() && config.nodes.size() > 1) {
        return ConfigFault{
            key,
            absl::StrFormat("found %s, which other nodes cannot reach; expected an address of an "
                            "interface between the nodes",
                            address)};
      }
      const auto [first, fresh] = owner.emplace(pin->address, i);
      if (first->second != i) {
        return ConfigFault{
            key,
            absl::StrFormat("found %s, which node '%s' has already; addresses are unique",
                            address,
                            config.nodes[first->second].name)};
      }
    }
    if (node.control.address == node.bootstrap.address &&
        node.control.interface != node.bootstrap.interface) {
      return ConfigFault{
          NodeKey(i) + ".bootstrap.interface",
          absl::StrFormat("found '%s' with the address that '%s' has for control; an address "
                          "belongs to one interface",
                          node.bootstrap.interface,
                          node.control.interface)};
    }
  }
  return std::nullopt;
}

Fault CheckRails(const NodeConfig& node, const std::string& key) {
  std::set<std::string> seen;
  for (std::size_t i = 0; i < node.rails.size(); ++i) {
    if (!seen.insert(node.rails[i]).second) {
      return ConfigFault{
          absl::StrFormat("%s.data[%d]", key, i),
          absl::StrFormat("found '%s' a second time; rails are distinct", node.rails[i])};
    }
  }
  return std::nullopt;
}

Fault CheckData(const ClusterConfig& config) {
  const NodeConfig* first = FirstWithRanks(config);
  for (std::size_t i = 0; i < config.nodes.size(); ++i) {
    const NodeConfig& node = config.nodes[i];
    if (node.ranks.empty()) {
      continue;
    }
    const std::string key = NodeKey(i) + ".data";
    if (node.data != first->data) {
      return ConfigFault{
          key,
          absl::StrFormat("found %s, but node '%s' has %s; expected one kind for all",
                          ToString(node.data),
                          first->name,
                          ToString(first->data))};
    }
    if (node.data == DataTransport::kLocal && node.ranks.size() != std::size_t(config.ranks())) {
      return ConfigFault{key,
                         "found local, but other nodes have ranks too; expected tcp or the rails "
                         "between the nodes"};
    }
    if (node.rails.size() != first->rails.size()) {
      return ConfigFault{
          key,
          absl::StrFormat("found %d rails, but node '%s' has %d; expected as many on "
                          "every node",
                          node.rails.size(),
                          first->name,
                          first->rails.size())};
    }
    if (Fault fault = CheckRails(node, NodeKey(i)); fault.has_value()) {
      return fault;
    }
  }
  return std::nullopt;
}

Fault CheckDevices(const ClusterConfig& config) {
  const NodeConfig* first = FirstWithRanks(config);
  for (std::size_t i = 0; i < config.nodes.size(); ++i) {
    std::set<std::int32_t> cuda;
    for (std::size_t j = 0; j < config.nodes[i].ranks.size(); ++j) {
      const std::string key = absl::StrFormat("%s.ranks[%d].device", NodeKey(i), j);
      const Device& device = config.nodes[i].ranks[j].device;
      if (device.kind != first->ranks.front().device.kind) {
        return ConfigFault{key,
                           "found another kind of device than the first rank's; expected cpu or "
                           "cuda for all, since their sums differ in the last bits"};
      }
      if (device.kind == DeviceKind::kCuda && !cuda.insert(device.cuda_index).second) {
        return ConfigFault{key + ".cuda",
                           absl::StrFormat("found %d, which another rank of node '%s' has already",
                                           device.cuda_index,
                                           config.nodes[i].name)};
      }
    }
  }
  return std::nullopt;
}

Fault CheckLinks(const ClusterConfig& config) {
  std::map<std::pair<std::string, std::string>, std::string> used;  // (node, rail) -> key
  for (std::size_t i = 0; i < config.links.size(); ++i) {
    const Link& link = config.links[i];
    for (const auto& [side, end] : {std::pair("from", &link.from), std::pair("to", &link.to)}) {
      const std::string key = absl::StrFormat("links[%d].%s", i, side);
      const NodeConfig* node = FindNode(config, end->node);
      if (node == nullptr) {
        return ConfigFault{key + ".node",
                           absl::StrFormat("found '%s', which is no node", end->node)};
      }
      if (std::find(node->rails.begin(), node->rails.end(), end->rail) == node->rails.end()) {
        return ConfigFault{
            key + ".rail",
            absl::StrFormat(
                "found '%s', which is no rail in the data of node '%s'", end->rail, end->node)};
      }
      const auto [first, fresh] = used.emplace(std::pair(end->node, end->rail), key);
      if (!fresh) {
        return ConfigFault{key,
                           absl::StrFormat("found rail '%s' of node '%s', which %s has already; a "
                                           "cable has two ends",
                                           end->rail,
                                           end->node,
                                           first->second)};
      }
    }
    if (link.from.node == link.to.node) {
      return ConfigFault{
          absl::StrFormat("links[%d].to.node", i),
          absl::StrFormat("found '%s' at both ends; a link joins two nodes", link.to.node)};
    }
  }
  for (std::size_t i = 0; !config.links.empty() && i < config.nodes.size(); ++i) {
    for (std::size_t j = 0; j < config.nodes[i].rails.size(); ++j) {
      if (!used.contains({config.nodes[i].name, config.nodes[i].rails[j]})) {
        return ConfigFault{absl::StrFormat("%s.data[%d]", NodeKey(i), j),
                           absl::StrFormat("found '%s', which no link joins; where links are "
                                           "declared, every rail has one",
                                           config.nodes[i].rails[j])};
      }
    }
  }
  return std::nullopt;
}

Fault CheckLimits(const std::string& key, const Limits& limits) {
  if (limits.kv_memory_bytes.has_value() && limits.kv_tokens.has_value()) {
    return ConfigFault{key + ".kv_tokens", "found beside kv_memory; expected one of the two"};
  }
  if (limits.kv_tokens.has_value() && *limits.kv_tokens < limits.context_length) {
    return ConfigFault{key + ".kv_tokens",
                       absl::StrFormat("found %d, less than one sequence of context_length %d",
                                       *limits.kv_tokens,
                                       limits.context_length)};
  }
  if (limits.step_rows < limits.sequences) {
    return ConfigFault{key + ".step_rows",
                       absl::StrFormat("found %d, less than one row for each of %d sequences",
                                       limits.step_rows,
                                       limits.sequences)};
  }
  return std::nullopt;
}

Fault CheckTimeouts(const Timeouts& timeouts) {
  if (timeouts.silence_ms < kHeartbeatsPerSilence * timeouts.heartbeat_ms) {
    return ConfigFault{"timeouts.silence_ms",
                       absl::StrFormat("found %d, less than %d times heartbeat_ms %d; one late "
                                       "heartbeat must not end an epoch",
                                       timeouts.silence_ms,
                                       kHeartbeatsPerSilence,
                                       timeouts.heartbeat_ms)};
  }
  if (timeouts.step_ms <= timeouts.silence_ms) {
    return ConfigFault{
        "timeouts.step_ms",
        absl::StrFormat(
            "found %d, no more than silence_ms %d", timeouts.step_ms, timeouts.silence_ms)};
  }
  return std::nullopt;
}

Fault CheckServing(const ClusterConfig& config) {
  if (Fault fault = CheckLimits("limits", config.limits); fault.has_value()) {
    return fault;
  }
  for (const auto& [name, limits] : config.profiles) {
    if (Fault fault = CheckLimits("profiles." + name, limits); fault.has_value()) {
      return fault;
    }
  }
  if (!config.profile.empty() && !config.profiles.contains(config.profile)) {
    return ConfigFault{"profile",
                       absl::StrFormat("found '%s', which profiles does not have", config.profile)};
  }
  std::set<std::string> names;
  for (std::size_t i = 0; i < config.model.served_names.size(); ++i) {
    if (!names.insert(config.model.served_names[i]).second) {
      return ConfigFault{absl::StrFormat("model.served_names[%d]", i),
                         absl::StrFormat("found '%s' a second time", config.model.served_names[i])};
    }
  }
  return CheckTimeouts(config.timeouts);
}

}  // namespace

std::optional<ConfigFault> FindFault(const ClusterConfig& config) {
  for (const auto check : {&CheckNodeNames,
                           &CheckRankNumbers,
                           &CheckPorts,
                           &CheckAddresses,
                           &CheckData,
                           &CheckDevices,
                           &CheckLinks,
                           &CheckServing}) {
    if (Fault fault = check(config); fault.has_value()) {
      return fault;
    }
  }
  return std::nullopt;
}

absl::Status Check(const ClusterConfig& config) {
  const std::optional<ConfigFault> fault = FindFault(config);
  return fault.has_value()
             ? absl::InvalidArgumentError(absl::StrFormat("%s: %s", fault->key, fault->what))
             : absl::OkStatus();
}

}  // namespace sparkspan::engine::config
