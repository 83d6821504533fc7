#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/text/added_tokens.h"
#include "engine/text/bpe.h"
#include "engine/text/split_pattern.h"

namespace sparkspan::engine::text {

// What a token stands for.
struct TokenEntry {
  std::string bytes;     // Not necessarily whole characters.
  bool added = false;    // Cut out of raw text before anything else.
  bool special = false;  // Left out of text for people.
};

// What an encoding took, whatever the machine: linear in the text, but for a factor log n inside
// one piece.
struct EncodeCost {
  std::int64_t pieces = 0;
  std::int64_t pairs = 0;  // Candidate pairs looked at while merging.
};

// Byte-level BPE as a published tokenizer.json describes it. Nothing is added to a text: a prompt
// spells its special tokens. Immutable; thread-safe.
class Tokenizer {
 public:
  struct Parts {
    std::vector<TokenEntry> entries;  // [vocabulary]
    AddedTokenMatcher first_pass;     // Those matched in raw text, and
    AddedTokenMatcher second_pass;    // those matched in what is left.
    std::vector<std::unique_ptr<const SplitPattern>> splits;
    Bpe bpe;
  };

  // From tokenizer.json and, where there is one, tokenizer_config.json of a checkpoint's folder.
  // NotFound without a tokenizer.json; InvalidArgument for files that are malformed; Unimplemented,
  // naming it, for whatever would make tokens differ from those of the library the file was made
  // for.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> Load(const std::string& folder);
  // The same from the files' texts; `config` may be empty.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> Parse(std::string_view tokenizer_json,
                                                                std::string_view config_json);

  explicit Tokenizer(Parts parts);

  // The tokens of `text`. InvalidArgument when it is not UTF-8.
  absl::StatusOr<std::vector<Token>> Encode(std::string_view text,
                                            EncodeCost* cost = nullptr) const;

  // The text of tokens, each maximal invalid byte sequence as one U+FFFD. Ids
  // outside the vocabulary have no text.
  std::string Decode(std::span<const Token> tokens, bool skip_special) const;

  bool Contains(Token token) const { return token >= 0 && token < vocabulary_size(); }
  std::int32_t vocabulary_size() const { return static_cast<std::int32_t>(parts_.entries.size()); }
  // Ids outside the vocabulary have no bytes: a model's padded logits may name them.
  std::string_view TokenBytes(Token token) const;
  bool IsSpecial(Token token) const;
  // At most so many bytes of text become one token.
  std::size_t token_bytes_max() const { return token_bytes_max_; }

  // The id of an added token; empty when the vocabulary has none of that text.
  std::optional<Token> AddedToken(std::string_view text) const;

 private:
  class Encoding;

  const Parts parts_;
  std::size_t token_bytes_max_ = 0;
};

}  // namespace sparkspan::engine::text
