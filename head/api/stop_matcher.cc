#include "head/api/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace sparkspan::head::api {

std::string StopMatcher::Push(std::string_view text) {
  if (match_.has_value()) {
    return "";
  }
  if (stops_.empty()) {
    return std::string(text);
  }
  held_ += text;
  // The match that ends first wins, and of those the longest: it is the one a reader of single
  // characters would have seen.
  std::size_t begin = 0;
  std::size_t end = std::string::npos;
  for (const std::string& stop : stops_) {
    const std::size_t found = held_.find(stop);
    if (found == std::string::npos) {
      continue;
    }
    const std::size_t found_end = found + stop.size();
    if (found_end < end || (found_end == end && found < begin)) {
      begin = found;
      end = found_end;
      match_ = stop;
    }
  }
  std::size_t shown = held_.size() - HeldBytes();
  if (match_.has_value()) {
    shown = include_match_ ? end : begin;
  }
  std::string result = held_.substr(0, shown);
  if (match_.has_value()) {
    held_.clear();
  } else {
    held_.erase(0, shown);
  }
  return result;
}

std::string StopMatcher::Flush() {
  return std::exchange(held_, std::string());
}

// The longest suffix of what is held that begins a stop string.
std::size_t StopMatcher::HeldBytes() const {
  std::size_t longest = 0;
  for (const std::string& stop : stops_) {
    std::size_t length = std::min(stop.size() - 1, held_.size());
    for (; length > longest; --length) {
      if (held_.compare(held_.size() - length, length, stop, 0, length) == 0) {
        longest = length;
      }
    }
  }
  return longest;
}

}  // namespace sparkspan::head::api
