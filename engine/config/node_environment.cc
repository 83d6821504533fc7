#include "engine/config/node_environment.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/fabric/environment.h"

namespace sparkspan::engine::config {
namespace {

const fabric::InterfaceAddress* FirstAddress(std::span<const fabric::Interface> interfaces,
                                             const std::string& name) {
  const auto found = std::find_if(interfaces.begin(), interfaces.end(), [&](const auto& interface) {
    return interface.name == name;
  });
  return found == interfaces.end() || found->addresses.empty() ? nullptr : &found->addresses[0];
}

std::optional<int> GidIndex(const fabric::Rail& rail,
                            const fabric::InterfaceAddress* held,
                            std::span<const fabric::RdmaPort> ports) {
  for (const fabric::RdmaPort& port : ports) {
    if (port.device == rail.rdma_device && held != nullptr) {
      const absl::StatusOr<int> index = FindGidIndex(port, rail.netdev, held->address);
      return index.ok() ? std::optional(*index) : std::nullopt;
    }
  }
  return std::nullopt;
}

// Those that the environment does not set itself.
absl::Status ExportNcclSettings(const ClusterConfig& config,
                                const NodeConfig& node,
                                const fabric::Variables& kept) {
  const fabric::KernelAddressSource addresses;
  ASSIGN_OR_RETURN(const std::vector<fabric::Interface> interfaces,
                   fabric::ListInterfaces("/sys", addresses));
  ASSIGN_OR_RETURN(const fabric::NcclPlan plan,
                   PlanNccl(config, node, interfaces, fabric::ListRdmaPorts("/sys")));
  std::vector<fabric::Setting> settings = NcclSettings(plan);
  std::erase_if(settings, [&](const fabric::Setting& setting) {
    return std::any_of(
        kept.begin(), kept.end(), [&](const auto& one) { return one.first == setting.name; });
  });
  for (const fabric::Setting& setting : settings) {
    LOG(INFO) << "set " << setting.name << "=" << setting.value << ": " << setting.why;
  }
  return fabric::Export(settings);
}

}  // namespace

absl::StatusOr<fabric::NcclPlan> PlanNccl(const ClusterConfig& config,
                                          const NodeConfig& node,
                                          std::span<const fabric::Interface> interfaces,
                                          std::span<const fabric::RdmaPort> ports) {
  fabric::NcclPlan plan;
  plan.bootstrap_interface = node.bootstrap.interface;
  // Two nodes joined by cables have every pair of rails that they need.
  plan.switchless = !config.links.empty() && config.nodes.size() > 2;
  std::set<std::pair<fabric::Ipv4Address, int>> subnets;
  for (std::size_t i = 0; i < node.rails.size(); ++i) {
    const std::string key = absl::StrFormat("node %s: data[%d]", node.name, i);
    ASSIGN_OR_RETURN(const fabric::Rail rail,
                     fabric::ResolveRail(key, node.rails[i], interfaces, ports));
    const fabric::InterfaceAddress* held = FirstAddress(interfaces, rail.netdev);
    if (held != nullptr) {
      const bool is_new =
          subnets.emplace(NetworkOf(held->address, held->prefix_length), held->prefix_length)
              .second;
      plan.rails_have_own_subnets = plan.rails_have_own_subnets && is_new;
    }
    plan.rails.push_back({rail.netdev, rail.rdma_device, GidIndex(rail, held, ports)});
  }
  return plan;
}

absl::Status PrepareEnvironment(const ClusterConfig& config, const NodeConfig& node) {
  const std::vector<std::string> inherited = fabric::Environment();
  for (const fabric::NcclConf& conf : fabric::ReadNcclConfs("/", inherited)) {
    for (const auto& [name, value] : conf.variables) {
      LOG(WARNING) << conf.file << " sets " << name << "=" << value
                   << ", which NCCL takes where the environment is silent; remove the file";
    }
  }
  fabric::Variables kept;
  if (config.allow_env_overrides) {
    kept = fabric::FindFabricVariables(inherited);
    for (const auto& [name, value] : kept) {
      LOG(WARNING) << "kept inherited " << name << "=" << value << ": allow_env_overrides is true";
    }
  } else {
    for (const auto& [name, value] : fabric::ClearFabricVariables()) {
      LOG(INFO) << "cleared inherited " << name << "=" << value << ": cluster.yaml decides";
    }
  }
  const bool uses_cuda =
      std::any_of(node.ranks.begin(), node.ranks.end(), [](const RankConfig& rank) {
        return rank.device.kind == DeviceKind::kCuda;
      });
  return uses_cuda ? ExportNcclSettings(config, node, kept) : absl::OkStatus();
}

}  // namespace sparkspan::engine::config
