#include <chrono>
#include <cstdio>
#include <string>

#include "engine/text/tokenizer.h"

// How the time to tokenise grows with the text: prints tokens, seconds and the ratio to half the
// text, 2 where it is linear. From the repository root: text_bench [FOLDER], default
// tests/data/tokenizer.
namespace sparkspan::engine::text {
namespace {

constexpr std::string_view kProse =
    "The quick brown fox doesn't jump over 3 lazy dogs; it walks (slowly), and says: \"12,345.67 "
    "is "
    "a number\".\n\nfor (int i = 0; i < n; ++i) { sum += values[i]; }\n";

void Measure(const Tokenizer& tokenizer, const char* name, std::string_view unit) {
  double before = 0;
  for (const std::size_t bytes :
       {std::size_t{1} << 20, std::size_t{1} << 21, std::size_t{1} << 22, std::size_t{1} << 23}) {
    std::string text;
    while (text.size() < bytes) {
      text += unit;
    }
    const auto begin = std::chrono::steady_clock::now();
    EncodeCost cost;
    const auto tokens = tokenizer.Encode(text, &cost);
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::printf("%-12s %8zu bytes %8zu tokens %9lld pairs %7.3f s  ratio %.2f\n",
                name,
                text.size(),
                tokens.ok() ? tokens->size() : 0,
                static_cast<long long>(cost.pairs),
                seconds,
                before > 0 ? seconds / before : 0.0);
    before = seconds;
  }
}

}  // namespace
}  // namespace sparkspan::engine::text

int main(int argc, char** argv) {
  using namespace sparkspan::engine::text;
  const auto tokenizer = Tokenizer::Load(argc > 1 ? argv[1] : "tests/data/tokenizer");
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "text_bench: %s\n", std::string(tokenizer.status().message()).c_str());
    return 1;
  }
  Measure(**tokenizer, "prose", kProse);
  Measure(**tokenizer, "one letter", "a");
  Measure(**tokenizer, "spaces", " ");
  Measure(**tokenizer, "newlines", "\n");
  Measure(**tokenizer, "Chinese", "你好世界");
  Measure(**tokenizer, "'<'", "<");
  return 0;
}
