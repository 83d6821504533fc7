#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
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
  // piece, whatever they are, where a token's merges rank after its own. Returns the candidate
  // pairs it looked at, the measure of its cost.
  std::int64_t Encode(std::string_view piece, std::vector<Token>* tokens) const;

 private:
  // A slot of the hash table of pairs; empty when its rank is negative.
  struct Slot {
    Token left = 0;
    Token right = 0;
    std::int32_t rank = -1;
    Token merged = 0;
  };

  std::size_t SlotOf(Token left, Token right) const;
  // Null when the pair is not listed.
  const Slot* Find(Token left, Token right) const;

  std::vector<Token> byte_tokens_;
  // Open addressing, a power of two at most half full: a look-up is most of the cost of merging,
  // and this one touches one cache line.
  std::vector<Slot> slots_;
};

}  // namespace sparkspan::engine::text
