#pragma once

#include "engine/base/clock.h"
#include "engine/runtime/rank_position.h"

namespace sparkspan::worker {

// Whether a rank hangs for good: it is inside a step, and has come no further for longer than any
// step may last. The head ends such an epoch at the step's own deadline, and a rank that can be
// interrupted leaves the step then; one that stays (a device call that never returns) can only be
// started again. Pure: time is an argument and never goes back. One thread at a time.
class StallWatch {
 public:
  // `limit`: several times the deadline of a step.
  explicit StallWatch(engine::Duration limit) : limit_(limit) {}

  bool IsStuck(const engine::runtime::RankPosition& position, engine::Time now);

 private:
  engine::Duration limit_;
  engine::runtime::RankPosition position_;
  engine::Time since_;
};

}  // namespace sparkspan::worker
