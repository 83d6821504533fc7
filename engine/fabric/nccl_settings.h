#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// What the collective libraries read from their environment, computed from the declared pins. Pure:
// environment.h reads and writes the process's own. Selector syntax and effects: NCCL's user guide,
// "Environment Variables".
namespace sparkspan::engine::fabric {

// A rail as NCCL is to use it.
struct NcclRail {
  std::string netdev;
  std::string rdma_device;
  std::optional<int> gid_index;  // of the rail's RoCE v2 IPv4 entry; none: could not be found
};

struct NcclPlan {
  std::string bootstrap_interface;
  std::vector<NcclRail> rails;  // none: TCP over the bootstrap interface
  // Rails are cables between pairs of nodes, so that not every pair of rails can talk.
  bool switchless = false;
  // Every rail has a subnet of its own.
  bool rails_have_own_subnets = true;
};

struct Setting {
  std::string name;
  std::string value;
  std::string why;

  bool operator==(const Setting&) const = default;
};

// The variables to set before NCCL's first call of the process, in a fixed order. The index of a
// GID is one number for all of a process's devices, so it is set only where all rails have the
// same.
std::vector<Setting> NcclSettings(const NcclPlan& plan);

// "NAME=value" lines of an environment or of an nccl.conf, as pairs.
using Variables = std::vector<std::pair<std::string, std::string>>;

// Whether the variable steers a network library that a cluster's pins steer: NCCL_*, GLOO_*, TP_*,
// UCX_*. Inherited ones come from images and shells that know nothing of this cluster.
bool IsFabricVariable(std::string_view name);

// The fabric variables among "NAME=value" texts, in their order.
Variables FindFabricVariables(std::span<const std::string> environment);

// The variables that an nccl.conf sets: a line NAME=value each, '#' begins a comment.
Variables ParseNcclConf(std::string_view text);

}  // namespace sparkspan::engine::fabric
