#include "engine/runtime/forced_progress.h"

namespace sparkspan::engine::runtime {

std::optional<Token> ForcedProgress::At(const ForcedTokens& forced, std::int64_t generated) const {
  const std::optional<std::int64_t> begin = forced.after.has_value() ? begin_ : 0;
  if (!begin.has_value() || generated < *begin ||
      generated - *begin >= static_cast<std::int64_t>(forced.tokens.size())) {
    return std::nullopt;
  }
  return forced.tokens[static_cast<std::size_t>(generated - *begin)];
}

void ForcedProgress::Commit(const ForcedTokens& forced, std::int64_t generated, Token token) {
  if (!begin_.has_value() && token == forced.after) {
    begin_ = generated + 1;
  }
}

}  // namespace sparkspan::engine::runtime
