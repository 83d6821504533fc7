#include "head/status/histogram.h"

#include <algorithm>

namespace sparkspan::head::status {

void Histogram::Observe(double value, std::uint64_t times) {
  const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  counts_[static_cast<std::size_t>(bound - bounds_.begin())] += times;
  sum_ += value * static_cast<double>(times);
}

std::vector<double> TimeToFirstTokenBounds() {
  return {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,  0.25,  0.5,   0.75,
          1.0,   2.5,   5.0,  7.5,  10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0};
}

std::vector<double> InterTokenBounds() {
  return {0.01,
          0.025,
          0.05,
          0.075,
          0.1,
          0.15,
          0.2,
          0.3,
          0.4,
          0.5,
          0.75,
          1.0,
          2.5,
          5.0,
          7.5,
          10.0,
          20.0,
          40.0,
          80.0};
}

std::vector<double> LatencyBounds() {
  return {0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,   5.0,   10.0,   15.0,  20.0,
          30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
}

std::vector<double> OneTwoFiveBounds(std::int64_t max) {
  std::vector<double> bounds;
  for (std::int64_t decade = 1; decade <= max; decade *= 10) {
    for (const std::int64_t factor : {1, 2, 5}) {
      if (decade * factor <= max) {
        bounds.push_back(static_cast<double>(decade * factor));
      }
    }
  }
  return bounds;
}

}  // namespace sparkspan::head::status
