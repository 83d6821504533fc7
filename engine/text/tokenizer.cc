#include "engine/text/tokenizer.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/text/utf8.h"

namespace sparkspan::engine::text {
namespace {

// Most words of a text come again. Pieces up to this length are remembered while one text is
// encoded, up to this many of them.
constexpr std::size_t kRememberedBytesMax = 32;
constexpr std::size_t kRememberedPiecesMax = 1 << 16;

}  // namespace

// The encoding of one text.
class Tokenizer::Encoding {
 public:
  explicit Encoding(const Parts& parts) : parts_(parts) {}

  absl::Status AddText(std::string_view text) {
    std::vector<AddedTokenMatcher::Stretch> stretches;
    parts_.first_pass.Split(text, &stretches);
    std::vector<AddedTokenMatcher::Stretch> rest;
    for (const AddedTokenMatcher::Stretch& stretch : stretches) {
      if (stretch.token >= 0) {
        tokens.push_back(stretch.token);
        continue;
      }
      rest.clear();
      parts_.second_pass.Split(stretch.text, &rest);
      for (const AddedTokenMatcher::Stretch& part : rest) {
        if (part.token >= 0) {
          tokens.push_back(part.token);
        } else {
          RETURN_IF_ERROR(AddPiece(part.text, 0));
        }
      }
    }
    return absl::OkStatus();
  }

  std::vector<Token> tokens;
  EncodeCost cost;

 private:
  // Each split runs on every piece that the one before left, alone.
  absl::Status AddPiece(std::string_view piece, std::size_t split) {
    if (split == parts_.splits.size()) {
      AddWord(piece);
      return absl::OkStatus();
    }
    std::vector<std::string_view> pieces;
    RETURN_IF_ERROR(parts_.splits[split]->Split(piece, &pieces));
    for (const std::string_view part : pieces) {
      RETURN_IF_ERROR(AddPiece(part, split + 1));
    }
    return absl::OkStatus();
  }

  void AddWord(std::string_view word) {
    ++cost.pieces;
    if (const auto known = remembered_.find(word); known != remembered_.end()) {
      const auto [begin, count] = known->second;
      for (std::size_t i = begin; i < begin + count; ++i) {
        tokens.push_back(Token{tokens[i]});
      }
      return;
    }
    const std::size_t begin = tokens.size();
    cost.pairs += parts_.bpe.Encode(word, &tokens);
    if (word.size() <= kRememberedBytesMax && remembered_.size() < kRememberedPiecesMax) {
      remembered_.emplace(word, std::pair(begin, tokens.size() - begin));
    }
  }

  const Parts& parts_;
  // A piece of this text, and where its tokens stand: first and count.
  std::unordered_map<std::string_view, std::pair<std::size_t, std::size_t>> remembered_;
};

Tokenizer::Tokenizer(Parts parts) : parts_(std::move(parts)) {
  for (const TokenEntry& entry : parts_.entries) {
    token_bytes_max_ = std::max(token_bytes_max_, entry.bytes.size());
  }
}

absl::StatusOr<std::vector<Token>> Tokenizer::Encode(std::string_view text,
                                                     EncodeCost* cost) const {
  if (const std::size_t valid = ValidUtf8Prefix(text); valid != text.size()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the text is not UTF-8 at byte %d of %d", valid, text.size()));
  }
  Encoding encoding(parts_);
  RETURN_IF_ERROR(encoding.AddText(text));
  if (cost != nullptr) {
    *cost = encoding.cost;
  }
  return std::move(encoding.tokens);
}

std::string Tokenizer::Decode(std::span<const Token> tokens, bool skip_special) const {
  std::string bytes;
  for (const Token token : tokens) {
    if (!skip_special || !IsSpecial(token)) {
      bytes += TokenBytes(token);
    }
  }
  return DecodeUtf8(bytes);
}

std::string_view Tokenizer::TokenBytes(Token token) const {
  return Contains(token) ? std::string_view(parts_.entries[static_cast<std::size_t>(token)].bytes)
                         : std::string_view();
}

bool Tokenizer::IsSpecial(Token token) const {
  return Contains(token) && parts_.entries[static_cast<std::size_t>(token)].special;
}

std::optional<Token> Tokenizer::AddedToken(std::string_view text) const {
  std::vector<AddedTokenMatcher::Stretch> stretches;
  for (const AddedTokenMatcher* pass : {&parts_.first_pass, &parts_.second_pass}) {
    stretches.clear();
    pass->Split(text, &stretches);
    if (stretches.size() == 1 && stretches[0].token >= 0) {
      return stretches[0].token;
    }
  }
  return std::nullopt;
}

}  // namespace sparkspan::engine::text
