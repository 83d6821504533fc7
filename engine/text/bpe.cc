#include "engine/text/bpe.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

#include "engine/base/log.h"

namespace sparkspan::engine::text {
namespace {

constexpr std::int32_t kNone = -1;

// A link of the list of symbols that are left. A symbol that was merged into the one before it has
// no token.
struct Symbol {
  Token token = kNone;
  std::int32_t previous = kNone;
  std::int32_t next = kNone;
};

// A pair that may be merged; stale once either symbol has changed. Ordered by rank, then place.
struct Candidate {
  std::int32_t rank = 0;
  std::int32_t left = 0;
  Token left_token = 0;
  Token right_token = 0;
  Token merged = 0;

  bool operator>(const Candidate& other) const {
    return std::pair(rank, left) > std::pair(other.rank, other.left);
  }
};

}  // namespace

Bpe::Bpe(std::vector<Token> byte_tokens, std::span<const Merge> merges)
    : byte_tokens_(std::move(byte_tokens)) {
  CHECK_EQ(byte_tokens_.size(), std::size_t{256});
  targets_.reserve(merges.size());
  std::int32_t rank = 0;
  for (const Merge& merge : merges) {
    targets_[Key(merge.left, merge.right)] = {rank++, merge.merged};
  }
}

std::uint64_t Bpe::Key(Token left, Token right) {
  return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) |
         static_cast<std::uint32_t>(right);
}

const Bpe::Target* Bpe::Find(Token left, Token right) const {
  const auto found = targets_.find(Key(left, right));
  return found != targets_.end() ? &found->second : nullptr;
}

std::int64_t Bpe::Encode(std::string_view piece, std::vector<Token>* tokens) const {
  CHECK_LT(piece.size(), std::size_t{1} << 30);
  std::vector<Symbol> symbols(piece.size());
  for (std::size_t i = 0; i < piece.size(); ++i) {
    const auto place = static_cast<std::int32_t>(i);
    symbols[i] = {byte_tokens_[static_cast<unsigned char>(piece[i])],
                  place - 1,
                  i + 1 < piece.size() ? place + 1 : kNone};
  }
  const auto at = [&](std::int32_t place) -> Symbol& {
    return symbols[static_cast<std::size_t>(place)];
  };
  std::vector<Candidate> initial;
  const auto candidate_at = [&](std::int32_t left, Candidate* out) {
    const std::int32_t right = left == kNone ? kNone : at(left).next;
    const Target* target = right == kNone ? nullptr : Find(at(left).token, at(right).token);
    if (target != nullptr) {
      *out = {target->rank, left, at(left).token, at(right).token, target->token};
    }
    return target != nullptr;
  };
  Candidate candidate;
  for (std::size_t i = 0; i + 1 < piece.size(); ++i) {
    if (candidate_at(static_cast<std::int32_t>(i), &candidate)) {
      initial.push_back(candidate);
    }
  }
  auto looked_at = static_cast<std::int64_t>(piece.size());
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>(),
                                                                               std::move(initial));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    ++looked_at;
    Symbol& left = at(best.left);
    if (left.token != best.left_token || left.next == kNone ||
        at(left.next).token != best.right_token) {
      continue;
    }
    Symbol& right = at(left.next);
    left.token = best.merged;
    left.next = right.next;
    right.token = kNone;
    if (left.next != kNone) {
      at(left.next).previous = best.left;
    }
    for (const std::int32_t place : {left.previous, best.left}) {
      if (candidate_at(place, &candidate)) {
        queue.push(candidate);
      }
    }
  }
  for (std::int32_t place = symbols.empty() ? kNone : 0; place != kNone; place = at(place).next) {
    tokens->push_back(at(place).token);
  }
  return looked_at;
}

}  // namespace sparkspan::engine::text
