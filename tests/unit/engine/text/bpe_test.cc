#include "engine/text/bpe.h"

#include <algorithm>
#include <map>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace sparkspan::engine::text {
namespace {

std::vector<Token> ByteTokens() {
  std::vector<Token> tokens(256);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<Token>(i);
  }
  return tokens;
}

// The definition, word for word, and slow.
std::vector<Token> Naive(const std::vector<Bpe::Merge>& merges, std::string_view piece) {
  std::map<std::pair<Token, Token>, std::size_t> rank_of;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    rank_of[{merges[rank].left, merges[rank].right}] = rank;
  }
  std::vector<Token> tokens;
  for (const char c : piece) {
    tokens.push_back(static_cast<unsigned char>(c));
  }
  while (true) {
    std::size_t best = merges.size();
    std::size_t place = 0;
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
      const auto found = rank_of.find({tokens[i], tokens[i + 1]});
      if (found != rank_of.end() && found->second < best) {
        best = found->second;
        place = i;
      }
    }
    if (best == merges.size()) {
      return tokens;
    }
    tokens[place] = merges[best].merged;
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  }
}

// Random merges over three letters, in trained order and in any: then a merge may make a pair that
// ranks before it.
TEST(BpeTest, MergesAsTheDefinitionSays) {
  std::mt19937 random(3);
  for (int round = 0; round < 400; ++round) {
    std::vector<Bpe::Merge> merges;
    std::vector<Token> symbols = {'a', 'b', 'c'};
    for (int i = 0; i < 1 + round % 14; ++i) {
      std::uniform_int_distribution<std::size_t> pick(0, symbols.size() - 1);
      const Token merged = 256 + i;
      merges.push_back({symbols[pick(random)], symbols[pick(random)], merged});
      symbols.push_back(merged);
    }
    if (round % 2 == 1) {
      std::shuffle(merges.begin(), merges.end(), random);
    }
    std::string piece;
    for (int i = 0; i < round % 70; ++i) {
      piece += static_cast<char>('a' + std::uniform_int_distribution<int>(0, 2)(random));
    }
    std::vector<Token> tokens;
    Bpe(ByteTokens(), merges).Encode(piece, &tokens);
    EXPECT_EQ(tokens, Naive(merges, piece)) << piece;
  }
}

}  // namespace
}  // namespace sparkspan::engine::text
