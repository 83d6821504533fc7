#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "engine/base/ids.h"

// The plain structs that cross between deciding (the head) and doing (the ranks): in process by
// value, between nodes through plan_codec. Nothing else crosses. Wire version 3; docs/wire.md.
namespace sparkspan::engine::runtime {

inline constexpr std::uint32_t kWireVersion = 3;

// How drafted tokens of a sampled sequence are judged (docs/drafting.md). Both leave the
// distribution of the text as it is without drafts. Greedy sequences: the largest logit's token.
enum class AcceptanceRule : std::uint8_t {
  // Accept with probability min(1, p / q), else draw from the rest of p over q: accepts most.
  kRejection = 0,
  // Draft and target draw with the same noise, a draft stands while both drew the same token: the
  // text is that of the same seed without drafts.
  kSharedNoise = 1,
};

// Added to a token's logit before anything else.
struct LogitBias {
  Token token = 0;
  float bias = 0.0f;  // minus infinity forbids the token

  bool operator==(const LogitBias&) const = default;
};

// Generated tokens that are given rather than chosen, such as the beginning of a tool call that a
// client insists on. They count as generated in every other way.
struct ForcedTokens {
  // They follow the first of these that is generated; without it they are the first generated.
  std::optional<Token> after;
  std::vector<Token> tokens;

  bool operator==(const ForcedTokens&) const = default;
};

// How the executor turns logits into a token. Fixed for a sequence's life.
struct SamplingParams {
  // 0 = greedy: the largest logit, lowest id on a tie. So is anything below 1e-5, as in vLLM.
  float temperature = 1.0f;
  float top_p = 1.0f;      // (0, 1]; 1 = off.
  std::int32_t top_k = 0;  // 0 = off.
  float min_p = 0.0f;      // [0, 1]; 0 = off.
  std::uint64_t seed = 0;
  // -1: no log-probabilities. n >= 0: the chosen token's and those of the n likeliest, of the raw
  // logits before temperature.
  std::int32_t top_logprobs = -1;
  // Tokens that must not be chosen while fewer than min_tokens have been generated.
  std::int32_t min_tokens = 0;
  std::vector<Token> suppressed_until_min_tokens;
  // Of tokens in the prompt or generated: positive logits are divided by it, others multiplied.
  float repetition_penalty = 1.0f;  // above 0; 1 = off
  // Subtracted from the logit of a generated token: per occurrence, and once.
  float frequency_penalty = 0.0f;
  float presence_penalty = 0.0f;
  std::vector<LogitBias> logit_bias;  // each token once
  std::vector<Token> allowed_tokens;  // no others may be chosen; empty: all may
  ForcedTokens forced;                // go before everything above
  AcceptanceRule acceptance = AcceptanceRule::kRejection;

  bool operator==(const SamplingParams&) const = default;
};

// vLLM's _SAMPLING_EPS.
inline constexpr float kGreedyBelow = 1e-5f;

inline bool IsGreedy(const SamplingParams& sampling) {
  return sampling.temperature < kGreedyBelow;
}

// Opens a sequence: state is allocated and zeroed. Its KV blocks follow in BlockGrants.
struct SequenceOpen {
  SequenceId sequence;
  SamplingParams sampling;
  std::int64_t prompt_tokens = 0;  // Positions at or beyond this are generated ones.

  bool operator==(const SequenceOpen&) const = default;
};

// Appends KV blocks (decisions 6: 256 tokens each, the same numbers on every rank) to a sequence.
struct BlockGrant {
  SequenceId sequence;
  std::vector<std::int32_t> blocks;

  bool operator==(const BlockGrant&) const = default;
};

// The last token that this sequence committed: lets the head plan a step before it has seen the
// result of the one before (decisions 5).
struct LastCommitted {
  bool operator==(const LastCommitted&) const = default;
};

// RowSpan::first_position of a head that cannot know the sequence's length yet, because drafts of
// a step in flight may lengthen it: wherever the sequence ends.
inline constexpr std::int64_t kSequenceEnd = -1;

// Consecutive rows of one sequence. `first_position` is absolute and equals the sequence's length
// so far, save after a rewind; with LastCommitted it may be kSequenceEnd. Either literal tokens
// (prefill) or the last committed one (decode).
struct RowSpan {
  SequenceId sequence;
  std::int64_t first_position = 0;
  std::variant<std::vector<Token>, LastCommitted> tokens;
  bool sample = false;  // Choose and commit a token after the last row.
  // Verify so many of the drafts that this sequence's last result proposed, in rows after the last
  // committed token; those that the rank does not have are left out. 0 without a drafter.
  std::int32_t draft_tokens_max = 0;
  // Propose drafts for the step that follows; only where a token is chosen.
  bool propose = false;

  bool operator==(const RowSpan&) const = default;
};

// One numbered step. Applied in this order: close, open, grants, spans.
struct StepPlan {
  Epoch epoch;
  Step step;  // 1, 2, 3, ... in an epoch.
  std::vector<SequenceId> close;
  std::vector<SequenceOpen> open;
  std::vector<BlockGrant> grants;
  std::vector<RowSpan> spans;

  bool operator==(const StepPlan&) const = default;
};

struct TokenLogprob {
  Token token = 0;
  float logprob = 0.0f;

  bool operator==(const TokenLogprob&) const = default;
};

// A token that a step committed to its sequence.
struct CommittedToken {
  Token token = 0;
  std::optional<float> logprob;   // When SamplingParams::top_logprobs >= 0.
  std::vector<TokenLogprob> top;  // The likeliest first.

  bool operator==(const CommittedToken&) const = default;
};

// Why no token could be chosen for one sequence. It can only be closed then; the others go on.
enum class SamplingFault : std::uint8_t {
  kNone = 0,
  kNoTokenAllowed = 1,   // what its parameters forbid is the whole vocabulary
  kLogitsNotFinite = 2,  // the model's arithmetic has gone wrong in its rows
};

struct SequenceTokens {
  SequenceId sequence;
  std::int64_t position = 0;           // Absolute position of tokens[0].
  std::vector<CommittedToken> tokens;  // Empty with a fault, else at least one.
  std::int32_t drafted = 0;            // Draft tokens verified in this step.
  std::int32_t accepted = 0;           // Of those, committed.
  std::int32_t proposed = 0;           // Drafts made for the next step, after the last of `tokens`.
  // Per proposed draft the drafter's confidence that it is accepted if those before it are, as a
  // raw logit; empty from drafters that have none.
  std::vector<float> confidence;
  SamplingFault fault = SamplingFault::kNone;  // Then no token, and nothing accepted or proposed.

  bool operator==(const SequenceTokens&) const = default;
};

// Where a step's time went on one rank, in nanoseconds of its monotonic clock.
struct StepTimes {
  std::int64_t forward_ns = 0;   // The model, exchanges included.
  std::int64_t exchange_ns = 0;  // Of that, inside collectives.
  std::int64_t sample_ns = 0;
  std::int64_t draft_ns = 0;  // The drafter, its exchanges included.
  std::int64_t total_ns = 0;  // From receiving the plan to having the result.

  bool operator==(const StepTimes&) const = default;
};

struct StepResult {
  Epoch epoch;
  Step step;
  Rank rank;
  std::vector<SequenceTokens> sequences;  // In the order of the plan's spans.
  // Over the final residual stream's bits, routing and index choices and the committed tokens
  // (decisions 7). Equal on all ranks, or the head fences the epoch.
  std::uint64_t digest = 0;
  StepTimes times;

  bool operator==(const StepResult&) const = default;
};

}  // namespace sparkspan::engine::runtime
