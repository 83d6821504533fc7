#include "engine/fabric/nccl_settings.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "absl/strings/str_format.h"

namespace sparkspan::engine::fabric {
namespace {

constexpr std::array<std::string_view, 4> kPrefixes = {"NCCL_", "GLOO_", "TP_", "UCX_"};

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  return first == std::string_view::npos
             ? std::string_view()
             : text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// The index that all rails have; empty when they differ or one is unknown.
std::optional<int> CommonGidIndex(const std::vector<NcclRail>& rails) {
  const auto same = [&](const NcclRail& rail) { return rail.gid_index == rails[0].gid_index; };
  return std::all_of(rails.begin(), rails.end(), same) ? rails[0].gid_index : std::nullopt;
}

void AppendRailSettings(const NcclPlan& plan, std::vector<Setting>* settings) {
  std::string devices;
  for (const NcclRail& rail : plan.rails) {
    devices += (devices.empty() ? "" : ",") + rail.rdma_device;
  }
  settings->push_back({"NCCL_NET", "IB", "never falls back to TCP"});
  settings->push_back({"NCCL_IB_HCA", "=" + devices, "exactly the declared rails"});
  if (const std::optional<int> index = CommonGidIndex(plan.rails); index.has_value()) {
    settings->push_back({"NCCL_IB_GID_INDEX", std::to_string(*index), "the same on all rails"});
  } else {
    settings->push_back({"NCCL_IB_ADDR_FAMILY",
                         "AF_INET",
                         "rails differ in their GID index: NCCL looks it up per device"});
    settings->push_back({"NCCL_IB_ROCE_VERSION_NUM", "2", "RoCE v2 entries only"});
  }
  settings->push_back({"NCCL_IGNORE_NET_MISMATCH", "0", "a rank with fewer devices is an error"});
  settings->push_back({"NCCL_IB_TIMEOUT", "18", "a dead peer ends in 7.5 s instead of 30 s"});
  if (plan.switchless) {
    settings->push_back({"NCCL_IB_MERGE_NICS", "0", "rails lead to different nodes"});
    settings->push_back({"NCCL_IB_SUBNET_AWARE_ROUTING", "1", "not every pair of rails can talk"});
    settings->push_back({"NCCL_NET_PLUGIN", "none", "plugins know nothing of the cabling"});
  } else if (plan.rails.size() > 1 && plan.rails_have_own_subnets) {
    settings->push_back({"NCCL_CROSS_NIC", "0", "rails of different subnets cannot cross"});
    settings->push_back({"NCCL_IB_SUBNET_AWARE_ROUTING", "1", "each rail has its own subnet"});
  } else if (plan.rails.size() > 1) {
    settings->push_back({"NCCL_CROSS_NIC", "1", "all rails are in one subnet"});
  }
}

}  // namespace

std::vector<Setting> NcclSettings(const NcclPlan& plan) {
  std::vector<Setting> settings = {
      {"NCCL_SOCKET_IFNAME", "=" + plan.bootstrap_interface, "exactly the bootstrap interface"},
      {"NCCL_SOCKET_FAMILY", "AF_INET", "no IPv6 link-local address"}};
  if (plan.rails.empty()) {
    settings.push_back({"NCCL_NET", "Socket", "TCP was asked for"});
    settings.push_back({"NCCL_IB_DISABLE", "1", "TCP was asked for"});
  } else {
    AppendRailSettings(plan, &settings);
  }
  settings.push_back({"NCCL_CUMEM_ENABLE", "0", "one GPU a process: nothing to share"});
  settings.push_back({"NCCL_RAS_ENABLE", "0", "its port would be open to everyone on the machine"});
  // Pinned buffers are ordinary memory on a machine whose GPU shares it.
  settings.push_back({"NCCL_BUFFSIZE", "1048576", "smaller pinned buffers"});
  settings.push_back({"NCCL_LL128_BUFFSIZE", "262144", "smaller pinned buffers"});
  settings.push_back({"NCCL_MAX_NCHANNELS", "8", "smaller pinned buffers"});
  return settings;
}

bool IsFabricVariable(std::string_view name) {
  return std::any_of(kPrefixes.begin(), kPrefixes.end(), [&](std::string_view prefix) {
    return name.starts_with(prefix);
  });
}

Variables FindFabricVariables(std::span<const std::string> environment) {
  Variables found;
  for (const std::string& entry : environment) {
    const std::size_t equals = entry.find('=');
    if (equals != std::string::npos && IsFabricVariable(entry.substr(0, equals))) {
      found.emplace_back(entry.substr(0, equals), entry.substr(equals + 1));
    }
  }
  return found;
}

Variables ParseNcclConf(std::string_view text) {
  Variables variables;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    const std::string_view content = Trimmed(std::string_view(line).substr(0, line.find('#')));
    const std::size_t equals = content.find('=');
    if (equals != std::string_view::npos && equals > 0) {
      variables.emplace_back(Trimmed(content.substr(0, equals)),
                             Trimmed(content.substr(equals + 1)));
    }
  }
  return variables;
}

}  // namespace sparkspan::engine::fabric
