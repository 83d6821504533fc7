#pragma once

#include <string_view>

namespace sparkspan::engine::text {

// What may stand between the parts of the markup, and is trimmed around its values: ASCII only.
inline constexpr std::string_view kWhiteSpaceCharacters = " \t\n\r\f\v";

inline bool IsWhiteSpace(char c) {
  return kWhiteSpaceCharacters.find(c) != std::string_view::npos;
}

}  // namespace sparkspan::engine::text
