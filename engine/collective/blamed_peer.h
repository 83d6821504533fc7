#pragma once

#include <optional>

#include "absl/status/status.h"
#include "engine/base/ids.h"

// Who an exchange broke on. When one rank dies, the others' exchanges fail and their reports may
// reach the head before its own end does: an error that names the peer by number lets the head tell
// the victim from the witnesses (docs/decisions/0018).
namespace sparkspan::engine::collective {

// `status` (not OK) with the peer attached; its code and message stay.
absl::Status BlamePeer(absl::Status status, Rank peer);

// The peer that an exchange's error was attached to; empty for errors of another origin.
std::optional<Rank> BlamedPeer(const absl::Status& status);

}  // namespace sparkspan::engine::collective
