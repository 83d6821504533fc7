#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sparkspan::engine::text {

// The bytes of `text` that are valid UTF-8, from its front: text.size() when all are.
std::size_t ValidUtf8Prefix(std::string_view text);

// Decodes UTF-8 that comes in pieces cut anywhere, as the Encoding standard (and Rust's lossy
// decoding) does: each maximal invalid sequence becomes one U+FFFD. The sum of what Push and Flush
// return depends on the bytes alone.
class Utf8Decoder {
 public:
  // Appends to *out the longest text that is certain. At most 3 bytes are held back: the beginning
  // of a character.
  void Push(std::string_view bytes, std::string* out);
  // The bytes ended: a held beginning becomes U+FFFD.
  void Flush(std::string* out);

 private:
  void PushByte(unsigned char byte, std::string* out);

  std::string held_;
  std::size_t missing_ = 0;  // Bytes until the held character is complete.
  // The range of the next byte: narrower than 80..BF after some leads, so that overlong forms,
  // surrogates and code points above U+10FFFF are invalid at once.
  unsigned char low_ = 0x80;
  unsigned char high_ = 0xBF;
};

// The whole of Push and Flush.
std::string DecodeUtf8(std::string_view bytes);

}  // namespace sparkspan::engine::text
