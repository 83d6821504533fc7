#pragma once

#include <cstdint>
#include <string>

#include "engine/base/ids.h"

namespace sparkspan::engine::runtime {

// What the ranks do together inside a step.
enum class Collective : std::uint8_t { kNone = 0, kAllReduce = 1, kAllGather = 2 };

// How far a rank has come in its epoch: what it tells with every sign of life, so that a stall can
// be named. Progress only grows inside an epoch.
struct RankPosition {
  Step begun;                                 // the newest step begun; 0: none yet
  Step finished;                              // the newest step finished
  std::int64_t exchanges = 0;                 // begun in the step `begun`
  Collective collective = Collective::kNone;  // of the newest exchange
  bool exchanging = false;                    // inside that exchange

  bool operator==(const RankPosition&) const = default;

  // Whether this rank has come further than `other`. Ranks of one epoch run the same steps with the
  // same exchanges, so their positions are in one order.
  bool IsAheadOf(const RankPosition& other) const;
};

// "in step 17, inside all-reduce 12", "in step 17, computing after all-reduce 12", "idle after step
// 16".
std::string Describe(const RankPosition& position);

}  // namespace sparkspan::engine::runtime
