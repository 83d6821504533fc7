#include "engine/base/silence_detector.h"

#include <algorithm>

namespace sparkspan::engine {

void SilenceDetector::Hear(std::size_t peer, Time at) {
  heard_[peer] = heard_[peer].has_value() ? std::max(*heard_[peer], at) : at;
}

std::vector<std::size_t> SilenceDetector::Silent(Time now) {
  const bool was_away = looked_.has_value() && now - *looked_ > limit_ / 2;
  looked_ = now;
  std::vector<std::size_t> silent;
  for (std::size_t peer = 0; peer < heard_.size(); ++peer) {
    if (!heard_[peer].has_value()) {
      continue;
    }
    if (was_away) {
      Hear(peer, now);
    } else if (now - *heard_[peer] > limit_) {
      silent.push_back(peer);
    }
  }
  return silent;
}

std::optional<Duration> SilenceDetector::SilentFor(std::size_t peer, Time now) const {
  return heard_[peer].has_value() ? std::optional(now - *heard_[peer]) : std::nullopt;
}

}  // namespace sparkspan::engine
