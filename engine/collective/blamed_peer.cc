#include "engine/collective/blamed_peer.h"

#include <string>

#include "absl/strings/cord.h"

namespace sparkspan::engine::collective {
namespace {

constexpr const char* kPayloadKey = "sparkspan/blamed-peer";

}  // namespace

absl::Status BlamePeer(absl::Status status, Rank peer) {
  status.SetPayload(kPayloadKey, absl::Cord(std::to_string(peer.value())));
  return status;
}

std::optional<Rank> BlamedPeer(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayloadKey);
  if (!payload.has_value()) {
    return std::nullopt;
  }
  return Rank(std::stoi(std::string(*payload)));
}

}  // namespace sparkspan::engine::collective
