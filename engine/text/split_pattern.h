#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sparkspan::engine::text {

// One "Split" of a pre-tokeniser: a regular expression as tokenizer.json writes it, in the dialect
// of Oniguruma. Immutable; thread-safe.
class SplitPattern {
 public:
  // Unimplemented for what the two dialects read differently, naming it; InvalidArgument for what
  // is no expression, or one that matches nothing between characters.
  static absl::StatusOr<std::unique_ptr<const SplitPattern>> Compile(std::string_view pattern);

  ~SplitPattern();
  SplitPattern(const SplitPattern&) = delete;
  SplitPattern& operator=(const SplitPattern&) = delete;

  // Appends the pieces of `text`, in order and without gaps: each match, and each stretch between
  // matches. `text` is valid UTF-8 and stands alone: its end is the end for look-ahead.
  // ResourceExhausted when matching takes more steps than its length allows.
  absl::Status Split(std::string_view text, std::vector<std::string_view>* pieces) const;

  const std::string& pattern() const { return pattern_; }

 private:
  struct Code;
  SplitPattern(std::string pattern, std::unique_ptr<Code> code);

  const std::string pattern_;
  const std::unique_ptr<Code> code_;
};

}  // namespace sparkspan::engine::text
