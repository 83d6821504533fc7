#include "engine/text/utf8.h"

namespace sparkspan::engine::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool IsAscii(char c) {
  return static_cast<unsigned char>(c) < 0x80;
}

}  // namespace

void Utf8Decoder::PushByte(unsigned char byte, std::string* out) {
  if (missing_ > 0) {
    if (byte >= low_ && byte <= high_) {
      held_ += static_cast<char>(byte);
      low_ = 0x80;
      high_ = 0xBF;
      if (--missing_ == 0) {
        *out += held_;
        held_.clear();
      }
      return;
    }
    Flush(out);  // The byte is looked at afresh.
  }
  if (byte < 0x80) {
    *out += static_cast<char>(byte);
    return;
  }
  if (byte < 0xC2 || byte > 0xF4) {
    *out += kReplacement;
    return;
  }
  held_ = static_cast<char>(byte);
  missing_ = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
  low_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
  high_ = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
}

void Utf8Decoder::Push(std::string_view bytes, std::string* out) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    std::size_t end = at;
    while (missing_ == 0 && end < bytes.size() && IsAscii(bytes[end])) {
      ++end;
    }
    *out += bytes.substr(at, end - at);
    if (end < bytes.size()) {
      PushByte(static_cast<unsigned char>(bytes[end++]), out);
    }
    at = end;
  }
}

void Utf8Decoder::Flush(std::string* out) {
  if (missing_ > 0) {
    *out += kReplacement;
  }
  held_.clear();
  missing_ = 0;
}

std::string DecodeUtf8(std::string_view bytes) {
  std::string text;
  Utf8Decoder decoder;
  decoder.Push(bytes, &text);
  decoder.Flush(&text);
  return text;
}

std::size_t ValidUtf8Prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
    const unsigned char lead = byte(0);
    const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if ((lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || text.size() - at < length) {
      return at;
    }
    for (std::size_t i = 1; i < length; ++i) {
      if ((byte(i) & 0xC0) != 0x80) {
        return at;
      }
    }
    const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
    const bool outside = (lead == 0xED && byte(1) > 0x9F) || (lead == 0xF4 && byte(1) > 0x8F);
    if (overlong || outside) {
      return at;
    }
    at += length;
  }
  return at;
}

}  // namespace sparkspan::engine::text
