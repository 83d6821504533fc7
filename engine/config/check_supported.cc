#include "engine/config/check_supported.h"

#include "absl/strings/str_format.h"

namespace sparkspan::engine::config {
namespace {

absl::Status Unsupported(const std::string& key, const char* found, const char* remedy) {
  return absl::UnimplementedError(
      absl::StrFormat("%s: %s is not supported by this release yet; %s", key, found, remedy));
}

}  // namespace

absl::Status CheckSupported(const ClusterConfig& config) {
  if (!config.api.tls.plaintext) {
    return Unsupported(
        "api.tls", "TLS", "write {plaintext: true} and put a TLS proxy before the API");
  }
  for (const NodeConfig& node : config.nodes) {
    if (node.data == DataTransport::kRails) {
      return Unsupported("nodes." + node.name + ".data", "RDMA", "write data: tcp");
    }
    for (const RankConfig& rank : node.ranks) {
      if (rank.device.kind != DeviceKind::kCpu) {
        return Unsupported(
            absl::StrFormat("nodes.%s.ranks.%d.device", node.name, rank.rank.value()),
            "cuda",
            "write a cpu device");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace sparkspan::engine::config
