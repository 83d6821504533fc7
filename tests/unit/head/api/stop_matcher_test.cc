#include "head/api/stop_matcher.h"

#include <random>

#include "gtest/gtest.h"

namespace sparkspan::head::api {
namespace {

TEST(StopMatcherTest, HoldsBackOnlyWhatMayBecomeAStop) {
  StopMatcher matcher({"END", "\n\n"}, /*include_match=*/false);
  EXPECT_EQ(matcher.Push("one E"), "one ");
  EXPECT_EQ(matcher.Push("N"), "");
  EXPECT_EQ(matcher.Push("E"), "EN");
  EXPECT_EQ(matcher.Push("x\n"), "Ex");
  EXPECT_EQ(matcher.Push("\nrest"), "");
  EXPECT_EQ(matcher.match(), "\n\n");
  EXPECT_EQ(matcher.Push("more"), "");
}

// However a text is cut, the same of it is shown as when the whole text is searched at once.
TEST(StopMatcherTest, AgreesWithASearchOfTheWholeText) {
  std::mt19937 random(7);
  const std::vector<std::string> stops = {"abab", "ba", "bbb"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (unsigned i = 0; i < random() % 20; ++i) {
      text += "abc"[random() % 3];
    }
    std::string expected = text;
    bool found = false;
    for (std::size_t end = 1; end <= text.size() && !found; ++end) {
      for (const std::string& stop : stops) {
        // The longest stop that ends here begins first; it decides where the text is cut.
        if (text.substr(0, end).ends_with(stop)) {
          const std::string cut = text.substr(0, end - stop.size());
          expected = !found || cut.size() < expected.size() ? cut : expected;
          found = true;
        }
      }
    }
    StopMatcher matcher(stops, false);
    std::string shown;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t bytes = 1 + random() % 4;
      shown += matcher.Push(text.substr(at, bytes));
      at += bytes;
    }
    shown += matcher.Flush();
    ASSERT_EQ(matcher.match().has_value(), found) << text;
    ASSERT_EQ(shown, expected) << text;
  }
}

}  // namespace
}  // namespace sparkspan::head::api
