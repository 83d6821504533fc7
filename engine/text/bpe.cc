#include "engine/text/bpe.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
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

// A pair that may be merged; stale once either symbol has changed.
struct Candidate {
  std::int32_t rank = 0;
  std::int32_t left = 0;  // The place of its left symbol.
  Token left_token = 0;
  Token right_token = 0;
  Token merged = 0;
};

// Candidates by rank, those of one rank from left to right. A text that is one long piece has many
// candidates of few ranks, which come nearly in order: taking them in turn is several times faster
// than a heap of them all.
class MergeQueue {
 public:
  void Push(const Candidate& candidate) {
    Bucket& bucket = buckets_[candidate.rank];
    bucket.sorted = bucket.sorted && (bucket.next == bucket.candidates.size() ||
                                      bucket.candidates.back().left < candidate.left);
    bucket.candidates.push_back(candidate);
  }

  std::optional<Candidate> Pop() {
    if (buckets_.empty()) {
      return std::nullopt;
    }
    Bucket& bucket = buckets_.begin()->second;
    if (!bucket.sorted) {
      std::sort(bucket.candidates.begin() + static_cast<std::ptrdiff_t>(bucket.next),
                bucket.candidates.end(),
                [](const Candidate& a, const Candidate& b) { return a.left < b.left; });
      bucket.sorted = true;
    }
    const Candidate candidate = bucket.candidates[bucket.next++];
    if (bucket.next == bucket.candidates.size()) {
      buckets_.erase(buckets_.begin());
    }
    return candidate;
  }

 private:
  struct Bucket {
    std::vector<Candidate> candidates;
    std::size_t next = 0;  // Those before were taken.
    bool sorted = true;    // From next on.
  };

  std::map<std::int32_t, Bucket> buckets_;  // None is empty.
};

}  // namespace

Bpe::Bpe(std::vector<Token> byte_tokens, std::span<const Merge> merges)
    : byte_tokens_(std::move(byte_tokens)) {
  CHECK_EQ(byte_tokens_.size(), std::size_t{256});
  std::size_t size = 2;
  while (size < 2 * merges.size()) {
    size *= 2;
  }
  slots_.resize(size);
  std::int32_t rank = 0;
  for (const Merge& merge : merges) {
    slots_[SlotOf(merge.left, merge.right)] = {merge.left, merge.right, rank++, merge.merged};
  }
}

std::size_t Bpe::SlotOf(Token left, Token right) const {
  std::uint64_t key =
      (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
  key *= 0x9E3779B97F4A7C15u;  // Fibonacci hashing: the high bits are the mixed ones.
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = static_cast<std::size_t>(key >> 32) & mask;
  while (slots_[slot].rank >= 0 && (slots_[slot].left != left || slots_[slot].right != right)) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

const Bpe::Slot* Bpe::Find(Token left, Token right) const {
  const Slot& slot = slots_[SlotOf(left, right)];
  return slot.rank >= 0 ? &slot : nullptr;
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
  MergeQueue queue;
  auto looked_at = static_cast<std::int64_t>(piece.size());
  const auto push_at = [&](std::int32_t left) {
    const std::int32_t right = left == kNone ? kNone : at(left).next;
    const Slot* target = right == kNone ? nullptr : Find(at(left).token, at(right).token);
    if (target != nullptr) {
      queue.Push({target->rank, left, at(left).token, at(right).token, target->merged});
    }
  };
  for (std::size_t i = 0; i + 1 < piece.size(); ++i) {
    push_at(static_cast<std::int32_t>(i));
  }
  while (const std::optional<Candidate> best = queue.Pop()) {
    ++looked_at;
    Symbol& left = at(best->left);
    if (left.token != best->left_token || left.next == kNone ||
        at(left.next).token != best->right_token) {
      continue;
    }
    Symbol& right = at(left.next);
    left.token = best->merged;
    left.next = right.next;
    right.token = kNone;
    if (left.next != kNone) {
      at(left.next).previous = best->left;
    }
    push_at(left.previous);
    push_at(best->left);
  }
  for (std::int32_t place = symbols.empty() ? kNone : 0; place != kNone; place = at(place).next) {
    tokens->push_back(at(place).token);
  }
  return looked_at;
}

}  // namespace sparkspan::engine::text
