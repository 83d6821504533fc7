#include "engine/text/byte_alphabet.h"

#include <array>
#include <cstddef>

namespace sparkspan::engine::text {
namespace {

constexpr unsigned kMovedFirst = 0x100;

constexpr bool StandsForItself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// The code point of each byte, and the byte (or -1) of each code point below U+0144.
struct Alphabet {
  std::array<unsigned, 256> code_points{};
  std::array<int, kMovedFirst + 68> bytes{};

  constexpr Alphabet() {
    bytes.fill(-1);
    unsigned moved = kMovedFirst;
    for (unsigned byte = 0; byte < 256; ++byte) {
      code_points[byte] = StandsForItself(byte) ? byte : moved++;
      bytes[code_points[byte]] = static_cast<int>(byte);
    }
  }
};

constexpr Alphabet kAlphabet;

}  // namespace

std::string SymbolOfByte(unsigned char byte) {
  const unsigned code = kAlphabet.code_points[byte];
  if (code < 0x80) {
    return std::string(1, static_cast<char>(code));
  }
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

std::optional<std::string> BytesOfSymbols(std::string_view symbols) {
  std::string bytes;
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    unsigned code = static_cast<unsigned char>(symbols[i]);
    if (code >= 0x80) {
      const unsigned next =
          i + 1 < symbols.size() ? static_cast<unsigned char>(symbols[i + 1]) : 0u;
      if ((code & 0xE0) != 0xC0 || (next & 0xC0) != 0x80) {
        return std::nullopt;
      }
      code = ((code & 0x1F) << 6) | (next & 0x3F);
      ++i;
    }
    if (code >= kAlphabet.bytes.size() || kAlphabet.bytes[code] < 0) {
      return std::nullopt;
    }
    bytes += static_cast<char>(kAlphabet.bytes[code]);
  }
  return bytes;
}

}  // namespace sparkspan::engine::text
