#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/base/log.h"
#include "engine/text/tokenizer.h"
#include "engine/text/utf8.h"

// A tokenizer.json as a stranger may publish it. What loads must encode any text so that decoding
// gives it back.
namespace sparkspan::engine::text {
namespace {

constexpr std::size_t kTextBytesMax = 2048;

void RoundTrip(const Tokenizer& tokenizer, std::string_view text) {
  const auto tokens = tokenizer.Encode(text);
  if (!tokens.ok()) {
    // Only a split pattern that takes too many steps may refuse UTF-8.
    CHECK(tokens.status().code() == absl::StatusCode::kResourceExhausted) << tokens.status();
    return;
  }
  CHECK(std::all_of(tokens->begin(), tokens->end(), [&](Token t) { return tokenizer.Contains(t); }))
      << "a token outside the vocabulary";
  CHECK(tokenizer.Decode(*tokens, /*skip_special=*/false) == text) << text;
  CHECK_LE(text.size(), tokens->size() * tokenizer.token_bytes_max());
}

void Try(std::string_view file) {
  const auto tokenizer = Tokenizer::Parse(file, "");
  if (!tokenizer.ok()) {
    CHECK(!tokenizer.status().message().empty()) << "an error without a message";
    return;
  }
  RoundTrip(**tokenizer, "The answer is 42!\n\n  你好 <｜User｜> e\u0301\t\u0085 x");
  const std::string_view part = file.substr(0, kTextBytesMax);
  RoundTrip(**tokenizer, part.substr(0, ValidUtf8Prefix(part)));
}

}  // namespace
}  // namespace sparkspan::engine::text

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  sparkspan::engine::text::Try({reinterpret_cast<const char*>(data), size});
  return 0;
}
