#pragma once

#include <algorithm>
#include <string_view>

namespace sparkspan::engine {

// What would break the line of a log, a terminal or a file that a text is written into: the bytes
// below a space, line breaks among them, and DEL. Bytes of UTF-8 above ASCII are none.
inline bool IsControlCharacter(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

inline bool HasControlCharacters(std::string_view text) {
  return std::any_of(text.begin(), text.end(), IsControlCharacter);
}

}  // namespace sparkspan::engine
