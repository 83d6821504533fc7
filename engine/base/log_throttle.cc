#include "engine/base/log_throttle.h"

#include <utility>

#include "engine/base/log.h"

namespace sparkspan::engine {

std::optional<std::string> LogThrottle::Line(std::string text, Time now) {
  const std::lock_guard lock(mutex_);
  if (!began_.has_value() || now - *began_ >= window_) {
    began_ = now;
    logged_ = 0;
  }
  if (logged_ >= lines_) {
    ++left_out_;
    return std::nullopt;
  }
  ++logged_;
  if (const std::int64_t left_out = std::exchange(left_out_, 0); left_out > 0) {
    text += " (before it " + std::to_string(left_out) + " lines like this were left out)";
  }
  return text;
}

void LogThrottle::Warn(std::string text, Time now) {
  if (const std::optional<std::string> line = Line(std::move(text), now)) {
    LOG(WARNING) << *line;
  }
}

}  // namespace sparkspan::engine
