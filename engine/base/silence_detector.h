#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "engine/base/clock.h"

namespace sparkspan::engine {

// Which of the peers that promised a sign of life every so often has stopped giving one. Pure: time
// is an argument and never goes back. One thread at a time.
//
// An observer that was away itself (stopped, swapped out, its machine suspended) has heard nobody,
// and blames nobody for it: after a gap between two looks of more than half the limit everyone is
// given the whole limit anew. So a peer is called silent after more than `limit` and, while the
// observer looks often, at most one look later.
class SilenceDetector {
 public:
  SilenceDetector(std::size_t peers, Duration limit) : limit_(limit), heard_(peers) {}

  // A sign of life of `peer`, at the time it arrived. The first one begins the watch over it; one
  // that arrived before the newest known changes nothing.
  void Hear(std::size_t peer, Time at);

  // Ends the watch over `peer` until it is heard again.
  void Forget(std::size_t peer) { heard_[peer].reset(); }

  // A look: the watched peers that were not heard for longer than the limit, in order. They stay
  // watched, and silent, until they are heard or forgotten.
  std::vector<std::size_t> Silent(Time now);

  // How long ago a watched peer was heard; empty for one that is not watched.
  std::optional<Duration> SilentFor(std::size_t peer, Time now) const;

 private:
  Duration limit_;
  std::vector<std::optional<Time>> heard_;  // [peers]: of those that are watched
  std::optional<Time> looked_;
};

}  // namespace sparkspan::engine
