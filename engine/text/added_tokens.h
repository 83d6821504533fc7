#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "engine/base/ids.h"

namespace sparkspan::engine::text {

// Finds the added tokens of a vocabulary in raw text, wherever their exact text stands: at each
// place the longest one. Immutable once built; thread-safe.
class AddedTokenMatcher {
 public:
  struct Stretch {
    std::string_view text;
    Token token = -1;  // -1: ordinary text, not empty.
  };

  // `text` is not empty and in no other token's place.
  void Add(std::string_view text, Token token);

  // Appends the stretches of `text`, in order and without gaps. Each place costs at most the length
  // of the longest added token.
  void Split(std::string_view text, std::vector<Stretch>* stretches) const;

 private:
  // A trie over bytes; node 0 is the root.
  struct Node {
    std::map<unsigned char, std::int32_t> children;
    Token token = -1;
  };

  Stretch LongestAt(std::string_view text) const;

  std::vector<Node> nodes_ = std::vector<Node>(1);
};

}  // namespace sparkspan::engine::text
