#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "engine/base/clock.h"

namespace sparkspan::engine {

// For messages that somebody else causes, as often as they like: at most `lines` of them in each
// `window`. What is left out is counted, and told by the first line after it. Time is an argument
// and never goes back. Thread-safe.
class LogThrottle {
 public:
  explicit LogThrottle(int lines = 10, Duration window = std::chrono::minutes(1))
      : lines_(lines), window_(window) {}

  // What to log for `text`; empty: nothing.
  std::optional<std::string> Line(std::string text, Time now);
  // Logs that as a warning.
  void Warn(std::string text, Time now);

 private:
  const int lines_;
  const Duration window_;
  std::mutex mutex_;  // of what follows
  std::optional<Time> began_;
  int logged_ = 0;  // in this window
  std::int64_t left_out_ = 0;
};

}  // namespace sparkspan::engine
