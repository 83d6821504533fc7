#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <string>
#include <vector>

#include "head/api/generation.h"

namespace sparkspan::head::cluster {

// The last errors of the head, for whoever looks after the fact. Bounded: an error that repeats the
// newest one is counted with it, and the oldest make room. One thread at a time.
class ErrorLog {
 public:
  using WallTime = std::chrono::system_clock::time_point;
  static constexpr std::size_t kErrorsMax = 32;
  static constexpr std::size_t kBytesMax = 2048;  // of one text

  void Add(WallTime at, std::string what);

  std::vector<api::ErrorStatus> errors() const { return {errors_.begin(), errors_.end()}; }

 private:
  std::deque<api::ErrorStatus> errors_;  // newest first
};

std::int64_t UnixSeconds(std::chrono::system_clock::time_point at);

}  // namespace sparkspan::head::cluster
