#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/base/ids.h"

namespace sparkspan::engine::text {

// Byte-pair encoding: the merges of a vocabulary and how they are applied. Immutable once built;
// thread-safe.
class Bpe {
 public:
  struct Merge {
    Token left = 0;
    Token right = 0;
    Token merged = 0;
  };

  // `byte_tokens`: the token of each single byte [256]. `merges`: in the order of their rank; of
  // equal pairs the last counts, as in the Hugging Face library.
  Bpe(std::vector<Token> byte_tokens, std::span<const Merge> merges);

  // Appends the tokens of one piece: from single bytes, the adjacent pair of the lowest rank is
  // merged (the leftmost among equals) until no listed pair is left. O(n log n) in the bytes of the
  // piece, whatever they are. Returns the candidate pairs it looked at, the measure of its cost.
  std::int64_t Encode(std::string_view piece, std::vector<Token>* tokens) const;

 private:
  struct Target {
    std::int32_t rank = 0;
    Token token = 0;
  };

  static std::uint64_t Key(Token left, Token right);
  const Target* Find(Token left, Token right) const;

  std::vector<Token> byte_tokens_;
  std::unordered_map<std::uint64_t, Target> targets_;
};

}  // namespace sparkspan::engine::text
