#include "engine/text/json.h"

#include "gtest/gtest.h"

namespace sparkspan::engine::text {
namespace {

std::string Python(std::string_view text) {
  std::string why;
  const auto value = ParseJson(text, JsonLimits{}, &why);
  EXPECT_TRUE(value.has_value()) << text << ": " << why;
  return value.has_value() ? value->ToPythonText() : "";
}

// The right-hand sides are what Python 3.11's json.dumps(json.loads(s), ensure_ascii=False) gives.
TEST(PromptJsonTest, PrintsNumbersAsPythonDoes) {
  EXPECT_EQ(Python("[1.0, 1e-7, 1E22, 1e16, 123456789012345680.0, 0.0001, 0.00001, -0.0, -0, 1e2]"),
            "[1.0, 1e-07, 1e+22, 1e+16, 1.2345678901234568e+17, 0.0001, 1e-05, -0.0, 0, 100.0]");
  EXPECT_EQ(Python("[9007199254740993.0, 0.1, 2.50, 5e-324, 1234.5678e3, 1e15]"),
            "[9007199254740992.0, 0.1, 2.5, 5e-324, 1234567.8, 1000000000000000.0]");
  const std::string digits(400, '7');
  EXPECT_EQ(Python(digits), digits);
  EXPECT_EQ(Python("1e999"), "1e999");  // Beyond a double: as it came.
}

TEST(PromptJsonTest, RefusesWhatFollowsANulByteAndAByteOrderMark) {
  using namespace std::string_view_literals;  // NOLINT(google-build-using-namespace)
  for (const std::string_view text : {"2\0x"sv, "{}\0"sv, "\0"sv, "\xEF\xBB\xBF{}"sv}) {
    std::string why;
    EXPECT_FALSE(ParseJson(text, JsonLimits{}, &why).has_value());
    EXPECT_FALSE(why.empty());
  }
}

TEST(PromptJsonTest, ReadsHalfASurrogatePairAsAReplacement) {
  EXPECT_EQ(Python(R"(["\ud83d", "\ude00x", "\ud83d\ude00", "\\ud83d", "\ud83d\ud83d\ude00"])"),
            "[\"\uFFFD\", \"\uFFFDx\", \"😀\", \"\\\\ud83d\", \"\uFFFD😀\"]");
}

}  // namespace
}  // namespace sparkspan::engine::text
