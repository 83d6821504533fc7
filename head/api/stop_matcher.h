#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sparkspan::head::api {

// Finds stop strings in text that comes in pieces. What could be the beginning of one is held back
// until it is certain.
class StopMatcher {
 public:
  // With `include_match` the stop string is part of the text, else the text ends before it.
  StopMatcher(std::vector<std::string> stops, bool include_match)
      : stops_(std::move(stops)), include_match_(include_match) {}

  // The text that may be shown after `text` came. After a match nothing more is.
  std::string Push(std::string_view text);
  // What is still held back, at the end of the text or before text of another kind.
  std::string Flush();

  // The stop string that ended the text.
  const std::optional<std::string>& match() const { return match_; }

 private:
  std::size_t HeldBytes() const;

  const std::vector<std::string> stops_;
  const bool include_match_;
  std::string held_;
  std::optional<std::string> match_;
};

}  // namespace sparkspan::head::api
