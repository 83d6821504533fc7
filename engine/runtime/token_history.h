#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/base/ids.h"

namespace sparkspan::engine::runtime {

// The tokens of one sequence in order, and how often each stands in the prompt and among the
// generated ones: what the penalties of SamplingParams look at. Drafts are appended like any
// generated token and removed again when they fall. Holds 4 bytes a token and one entry a distinct
// token. One thread at a time.
class TokenHistory {
 public:
  struct Occurrences {
    std::int32_t prompt = 0;
    std::int32_t generated = 0;
  };

  // At position size(). A prompt token must not follow a generated one.
  void Append(Token token, bool generated);

  // The history must not be empty.
  void RemoveLast();
  // Keeps the first `size` tokens; those that are not there are not missed.
  void Truncate(std::int64_t size);

  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }

  // Every token of the history, none with both counts 0; in no particular order.
  const std::unordered_map<Token, Occurrences>& occurrences() const { return occurrences_; }

 private:
  std::vector<Token> tokens_;
  std::size_t prompt_size_ = 0;  // of tokens_, the first ones
  std::unordered_map<Token, Occurrences> occurrences_;
};

}  // namespace sparkspan::engine::runtime
