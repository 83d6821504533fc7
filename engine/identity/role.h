#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sparkspan::engine::identity {

// What a process may be on the control plane. A certificate says so itself: being signed by the
// cluster's authority is not enough to command a worker.
enum class Role : std::uint8_t { kHead, kWorker };

// The DNS name that a certificate carries for a role of a node: "worker.spark2.two-sparks". Nobody
// looks it up; both sides compare it with the one that cluster.yaml implies.
inline std::string RoleName(Role role, std::string_view node, std::string_view cluster) {
  std::string name = role == Role::kHead ? "head." : "worker.";
  return name.append(node).append(".").append(cluster);
}

}  // namespace sparkspan::engine::identity
