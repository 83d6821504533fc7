#include "worker/stall_watch.h"

namespace sparkspan::worker {

bool StallWatch::IsStuck(const engine::runtime::RankPosition& position, engine::Time now) {
  const bool is_in_step = position.begun != position.finished;
  if (!is_in_step || !(position == position_)) {
    position_ = position;
    since_ = now;
  }
  return is_in_step && now - since_ > limit_;
}

}  // namespace sparkspan::worker
