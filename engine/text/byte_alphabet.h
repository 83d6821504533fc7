#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sparkspan::engine::text {

// The printable characters that stand for bytes in a byte-level vocabulary (GPT-2's): bytes
// 0x21..0x7E, 0xA1..0xAC and 0xAE..0xFF stand for themselves; the others, in rising order, are
// U+0100, U+0101, ... (a space is U+0120).

// The character of a byte, in UTF-8.
std::string SymbolOfByte(unsigned char byte);

// The bytes that a text of such characters stands for; empty when it holds any other.
std::optional<std::string> BytesOfSymbols(std::string_view symbols);

}  // namespace sparkspan::engine::text
