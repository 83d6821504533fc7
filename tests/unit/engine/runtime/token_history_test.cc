#include "engine/runtime/token_history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <utility>
#include <vector>

namespace sparkspan::engine::runtime {
namespace {

using Counts = std::map<Token, std::pair<int, int>>;  // in the prompt, generated

Counts CountsOf(const TokenHistory& history) {
  Counts counts;
  for (const auto& [token, occurrences] : history.occurrences()) {
    counts[token] = {occurrences.prompt, occurrences.generated};
  }
  return counts;
}

Counts CountByHand(const std::vector<std::pair<Token, bool>>& tokens) {
  Counts counts;
  for (const auto& [token, generated] : tokens) {
    ++(generated ? counts[token].second : counts[token].first);
  }
  return counts;
}

TEST(TokenHistory, CountsWhatAnyMixOfAppendsAndRemovalsLeaves) {
  std::mt19937 random(3);
  for (int run = 0; run < 50; ++run) {
    TokenHistory history;
    std::vector<std::pair<Token, bool>> expected;
    const std::size_t prompt = random() % 40;
    for (int change = 0; change < 300; ++change) {
      if (random() % 3 != 0) {
        const auto token = static_cast<Token>(random() % 12);
        const bool generated = expected.size() >= prompt;
        history.Append(token, generated);
        expected.push_back({token, generated});
      } else if (random() % 8 == 0) {
        const std::size_t size = random() % 60;
        history.Truncate(static_cast<std::int64_t>(size));
        expected.resize(std::min(size, expected.size()));
      } else if (!expected.empty()) {
        history.RemoveLast();
        expected.pop_back();
      }
      ASSERT_EQ(history.size(), static_cast<std::int64_t>(expected.size()));
      ASSERT_EQ(CountsOf(history), CountByHand(expected));
    }
  }
}

TEST(TokenHistoryDeathTest, HasNoPromptAfterGeneratedTokens) {
  TokenHistory history;
  history.Append(1, false);
  history.Append(2, true);
  EXPECT_DEATH(history.Append(3, false), "a prompt token after a generated one");
  history.Truncate(0);
  EXPECT_DEATH(history.RemoveLast(), "");
}

}  // namespace
}  // namespace sparkspan::engine::runtime
