#pragma once

#include <cstdint>
#include <optional>

#include "engine/runtime/plan.h"

namespace sparkspan::engine::runtime {

// How far one sequence has come with its forced tokens: a function of the tokens it has generated.
// One thread at a time.
class ForcedProgress {
 public:
  // The token that must be the next after `generated` ones; empty where it is free.
  std::optional<Token> At(const ForcedTokens& forced, std::int64_t generated) const;

  // `token` has become the next after `generated` ones.
  void Commit(const ForcedTokens& forced, std::int64_t generated, Token token);

 private:
  // How many tokens had been generated when ForcedTokens::after had its first appearance behind it.
  std::optional<std::int64_t> begin_;
};

}  // namespace sparkspan::engine::runtime
