#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

#include "engine/base/clock.h"

namespace sparkspan::head::http {

// How long a peer may keep us waiting. Waiting uses it up; each byte that moves gives back what it
// may take at the lowest rate that is put up with, up to the whole. So a peer that stalls is given
// up after `longest`, and one that drips bytes below the rate soon after.
class Patience {
 public:
  Patience() = default;  // None: what is not there at once does not come.
  // `bytes_per_second_min` 0: bytes give nothing back, `longest` holds for all of them together.
  explicit Patience(std::chrono::milliseconds longest, std::size_t bytes_per_second_min = 0)
      : longest_(longest), bytes_per_second_min_(bytes_per_second_min), left_(longest) {}

  engine::Duration left() const { return left_; }
  void Waited(engine::Duration time) { left_ = std::max(left_ - time, engine::Duration::zero()); }
  void Moved(std::size_t bytes) {
    if (bytes_per_second_min_ > 0) {
      const std::chrono::duration<double> earned(static_cast<double>(bytes) /
                                                 static_cast<double>(bytes_per_second_min_));
      left_ = std::min(left_ + std::chrono::duration_cast<engine::Duration>(earned), longest_);
    }
  }

 private:
  engine::Duration longest_{};
  std::size_t bytes_per_second_min_ = 0;
  engine::Duration left_{};
};

}  // namespace sparkspan::head::http
