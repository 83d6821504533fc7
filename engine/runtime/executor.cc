#include "engine/runtime/executor.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/hash.h"
#include "engine/base/status.h"
#include "engine/runtime/plan_check.h"

namespace sparkspan::engine::runtime {
namespace {

absl::Status Refuse(SequenceId sequence, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrFormat(
      "the plan contradicts this rank's state: sequence %d %s", sequence.value(), why));
}

absl::Status InRange(const char* name, std::int64_t value, std::int64_t most) {
  if (value < 1 || value > most) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s is %d: must be 1 to %d", name, value, most));
  }
  return absl::OkStatus();
}

std::int64_t RowsOf(const RowSpan& span) {
  const auto* tokens = std::get_if<std::vector<Token>>(&span.tokens);
  return tokens == nullptr ? 1 : static_cast<std::int64_t>(tokens->size());
}

// All that a step says to the outside, so that ranks that agree on it agree on what is streamed.
std::uint64_t DigestOf(const std::vector<SequenceTokens>& sequences, std::uint64_t seed) {
  std::vector<std::uint64_t> words;
  for (const SequenceTokens& tokens : sequences) {
    words.push_back(tokens.sequence.value());
    words.push_back(static_cast<std::uint64_t>(tokens.position));
    words.push_back(static_cast<std::uint64_t>(tokens.drafted));
    words.push_back(static_cast<std::uint64_t>(tokens.accepted));
    for (const CommittedToken& token : tokens.tokens) {
      words.push_back(static_cast<std::uint64_t>(token.token));
      words.push_back(std::bit_cast<std::uint32_t>(token.logprob.value_or(0.0f)));
      for (const TokenLogprob& top : token.top) {
        words.push_back(static_cast<std::uint64_t>(top.token));
        words.push_back(std::bit_cast<std::uint32_t>(top.logprob));
      }
    }
  }
  return Hash64(std::as_bytes(std::span<const std::uint64_t>(words)), seed);
}

}  // namespace

RankMemory Executor::MemoryOf(const model::Model& model, const ExecutorOptions& options) {
  const kernels::CacheLayout& layout = model.cache_layout();
  return {.kv_bytes = layout.block_bytes * options.kv_blocks,
          .state_bytes = layout.state_bytes * options.sequences_max,
          .activation_bytes = model.ActivationBytes(options.step_rows_max)};
}

absl::StatusOr<std::unique_ptr<Executor>> Executor::Create(std::unique_ptr<model::Model> model,
                                                           collective::Communicator* communicator,
                                                           const ExecutorOptions& options,
                                                           const Clock* clock) {
  RETURN_IF_ERROR(InRange("kv_blocks", options.kv_blocks, PlanLimits::kBlocksMax));
  RETURN_IF_ERROR(InRange("sequences_max", options.sequences_max, PlanLimits::kSequencesMax));
  RETURN_IF_ERROR(InRange("step_rows_max", options.step_rows_max, PlanLimits::kRowsMax));
  ASSIGN_OR_RETURN(auto pool, cache::KvPool::Create(model->cache_layout(), options.kv_blocks));
  return std::unique_ptr<Executor>(
      new Executor(std::move(model), communicator, options, clock, std::move(pool)));
}

Executor::Executor(std::unique_ptr<model::Model> model,
                   collective::Communicator* communicator,
                   const ExecutorOptions& options,
                   const Clock* clock,
                   std::unique_ptr<cache::KvPool> pool)
    : model_(std::move(model)),
      communicator_(communicator),
      options_(options),
      clock_(clock),
      pool_(std::move(pool)),
      owner_(static_cast<std::size_t>(options.kv_blocks)),
      ended_(absl::FailedPreconditionError("no epoch has begun on this rank")) {
  states_.reserve(static_cast<std::size_t>(options.sequences_max));
  for (std::int32_t i = 0; i < options.sequences_max; ++i) {
    states_.emplace_back(model_->cache_layout());
  }
}

void Executor::Reset(Epoch epoch) {
  block_turn_ = 0;
  sequences_.clear();
  std::fill(owner_.begin(), owner_.end(), std::nullopt);
  free_states_.clear();
  for (cache::SequenceState& state : states_) {
    free_states_.push_back(&state);
  }
  epoch_ = epoch;
  last_step_ = Step(0);
  ended_ = absl::OkStatus();
}

ClusterShape Executor::Shape() const {
  return {.ranks = communicator_ == nullptr ? 1 : communicator_->size(),
          .epoch = epoch_,
          .vocabulary = model_->parts().vocabulary,
          .kv_blocks = options_.kv_blocks,
          .kv_block_tokens = kernels::kKvBlockTokens,
          .sequences_max = options_.sequences_max,
          .step_rows_max = options_.step_rows_max,
          .draft_tokens_max = 0,
          .memory = {MemoryOf(*model_, options_)}};
}

std::span<const std::int32_t> Executor::blocks_of(SequenceId sequence) const {
  const auto found = sequences_.find(sequence);
  return found == sequences_.end() ? std::span<const std::int32_t>() : found->second.blocks;
}

absl::Status Executor::CheckOrder(const StepPlan& plan) const {
  if (plan.epoch != epoch_ || plan.step.value() != last_step_.value() + 1) {
    return absl::FailedPreconditionError(
        absl::StrFormat("got the plan of epoch %d step %d, expected epoch %d step %d",
                        plan.epoch.value(),
                        plan.step.value(),
                        epoch_.value(),
                        last_step_.value() + 1));
  }
  return absl::OkStatus();
}

absl::Status Executor::ApplyClose(const StepPlan& plan) {
  for (const SequenceId id : plan.close) {
    const auto found = sequences_.find(id);
    if (found == sequences_.end()) {
      return Refuse(id, "is not open and cannot be closed");
    }
    for (const std::int32_t block : found->second.blocks) {
      owner_[static_cast<std::size_t>(block)] = std::nullopt;
    }
    free_states_.push_back(found->second.state);
    sequences_.erase(found);
  }
  return absl::OkStatus();
}

absl::Status Executor::CheckTokens(const SequenceOpen& open) const {
  const std::int64_t vocabulary = model_->parts().vocabulary;
  for (const Token token : open.sampling.suppressed_until_min_tokens) {
    if (token < 0 || token >= vocabulary) {
      return Refuse(
          open.sequence,
          absl::StrFormat("suppresses token %d, the vocabulary has %d", token, vocabulary));
    }
  }
  for (const LogitBias& bias : open.sampling.logit_bias) {
    if (bias.token < 0 || bias.token >= vocabulary) {
      return Refuse(
          open.sequence,
          absl::StrFormat("biases token %d, the vocabulary has %d", bias.token, vocabulary));
    }
  }
  return absl::OkStatus();
}

absl::Status Executor::ApplyOpen(const StepPlan& plan) {
  for (const SequenceOpen& open : plan.open) {
    if (sequences_.contains(open.sequence)) {
      return Refuse(open.sequence, "is open already");
    }
    if (free_states_.empty()) {
      return Refuse(open.sequence,
                    absl::StrFormat("is one more than the %d that may be open at once",
                                    options_.sequences_max));
    }
    RETURN_IF_ERROR(CheckTokens(open));
    Sequence& sequence = sequences_[open.sequence];
    sequence.sampling = open.sampling;
    sequence.prompt_tokens = open.prompt_tokens;
    sequence.state = free_states_.back();
    free_states_.pop_back();
    const std::span<std::byte> bytes = sequence.state->bytes();
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
  }
  return absl::OkStatus();
}

absl::Status Executor::ApplyGrants(const StepPlan& plan) {
  for (const BlockGrant& grant : plan.grants) {
    const auto found = sequences_.find(grant.sequence);
    if (found == sequences_.end()) {
      return Refuse(grant.sequence, "is not open and cannot be granted blocks");
    }
    for (const std::int32_t block : grant.blocks) {
      if (block < 0 || block >= options_.kv_blocks) {
        return Refuse(
            grant.sequence,
            absl::StrFormat("is granted KV block %d, the pool has %d", block, options_.kv_blocks));
      }
      std::optional<SequenceId>& owner = owner_[static_cast<std::size_t>(block)];
      if (owner.has_value()) {
        return Refuse(grant.sequence,
                      absl::StrFormat(
                          "is granted KV block %d, which sequence %d owns", block, owner->value()));
      }
      owner = grant.sequence;
      found->second.blocks.push_back(block);
    }
  }
  return absl::OkStatus();
}

absl::Status Executor::LayOutSpan(const RowSpan& span, const Sequence& sequence) {
  const auto* literal = std::get_if<std::vector<Token>>(&span.tokens);
  std::int64_t first = span.first_position;
  if (literal == nullptr) {
    if (!sequence.last_committed.has_value()) {
      return Refuse(span.sequence, "has no committed token to go on from");
    }
    first = first == kSequenceEnd ? sequence.length : first;
    committed_.push_back(*sequence.last_committed);
  }
  const std::int64_t rewind = literal == nullptr ? 0 : model_->options().rewind_rows_max;
  if (first > sequence.length || first < 0 || first < sequence.length - rewind) {
    return Refuse(
        span.sequence,
        absl::StrFormat(
            "has %d rows, the span begins at position %d", sequence.length, span.first_position));
  }
  if (span.draft_tokens_max != 0) {
    return Refuse(
        span.sequence,
        absl::StrFormat("is to draft %d tokens, this rank has no drafter", span.draft_tokens_max));
  }
  const std::int64_t length = first + RowsOf(span);
  if (span.sample && length < sequence.prompt_tokens) {
    return Refuse(span.sequence,
                  absl::StrFormat("is to choose a token at position %d of a prompt of %d",
                                  length,
                                  sequence.prompt_tokens));
  }
  if (sequence.blocks.size() < static_cast<std::size_t>(cache::KvPool::BlocksFor(length))) {
    return Refuse(
        span.sequence,
        absl::StrFormat(
            "owns %d KV blocks, which do not hold %d tokens", sequence.blocks.size(), length));
  }
  spans_.push_back({.state = sequence.state,
                    .blocks = sequence.blocks,
                    .first_position = first,
                    .tokens = literal == nullptr ? std::span<const Token>(&committed_.back(), 1)
                                                 : std::span<const Token>(*literal),
                    .logits = span.sample ? model::LogitsRows::kLast : model::LogitsRows::kNone});
  return absl::OkStatus();
}

absl::Status Executor::LayOutSpans(const StepPlan& plan) {
  spans_.clear();
  committed_.clear();
  committed_.reserve(plan.spans.size());  // spans_ points into it
  std::int64_t rows = 0;
  for (const RowSpan& span : plan.spans) {
    const auto found = sequences_.find(span.sequence);
    if (found == sequences_.end()) {
      return Refuse(span.sequence, "is not open and cannot be run");
    }
    RETURN_IF_ERROR(LayOutSpan(span, found->second));
    rows += RowsOf(span);
  }
  if (rows > options_.step_rows_max) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the plan of step %d has %d rows: at most %d fit this rank",
                        plan.step.value(),
                        rows,
                        options_.step_rows_max));
  }
  return absl::OkStatus();
}

// The rows of a span replace whatever the history has from its first position on: the token that
// was committed there, or the tail that a rewind gives up.
void Executor::AppendRows(const model::SequenceSpan& span, Sequence* sequence) {
  sequence->history.Truncate(span.first_position);
  std::int64_t position = span.first_position;
  for (const Token token : span.tokens) {
    sequence->history.Append(token, position++ >= sequence->prompt_tokens);
  }
}

absl::Status Executor::Commit(const StepPlan& plan, StepResult* result) {
  const auto vocabulary = static_cast<std::size_t>(model_->parts().vocabulary);
  std::size_t row = 0;
  for (std::size_t i = 0; i < plan.spans.size(); ++i) {
    const RowSpan& span = plan.spans[i];
    Sequence& sequence = sequences_.at(span.sequence);
    sequence.length = spans_[i].first_position + static_cast<std::int64_t>(spans_[i].tokens.size());
    sequence.last_committed = std::nullopt;
    const bool needs_history = NeedsHistory(sequence.sampling);
    if (needs_history) {
      AppendRows(spans_[i], &sequence);
    }
    if (!span.sample) {
      continue;
    }
    const auto logits =
        std::span<const float>(forward_.logits).subspan(row++ * vocabulary, vocabulary);
    const auto scores = processor_.Process(
        logits, sequence.sampling, sequence.history, sequence.length - sequence.prompt_tokens);
    auto token = sampler_.Sample(scores, logits, sequence.sampling, sequence.length);
    if (!token.ok()) {
      return absl::Status(token.status().code(),
                          absl::StrFormat("sequence %d at position %d: %s",
                                          span.sequence.value(),
                                          sequence.length,
                                          token.status().message()));
    }
    sequence.last_committed = token->token;
    if (needs_history) {
      sequence.history.Append(token->token, /*generated=*/true);
    }
    SequenceTokens& tokens = result->sequences.emplace_back();
    tokens.sequence = span.sequence;
    tokens.position = sequence.length;
    tokens.tokens.push_back(*std::move(token));
  }
  return absl::OkStatus();
}

// A wrong stored latent changes only this rank's partial sum, and the exchange makes every rank
// equally wrong: so the stored bytes themselves are compared too, one block a step in rotation.
// Only full blocks: they were all written in this epoch, by every rank alike.
std::uint64_t Executor::HashOfNextBlock() {
  std::vector<std::int32_t> full;
  for (const auto& [id, sequence] : sequences_) {
    const auto count = static_cast<std::size_t>(sequence.length / kernels::kKvBlockTokens);
    full.insert(full.end(),
                sequence.blocks.begin(),
                sequence.blocks.begin() + static_cast<std::ptrdiff_t>(count));
  }
  if (full.empty()) {
    return 0;
  }
  const std::size_t turn = block_turn_++ % full.size();
  return Hash64(std::span<const std::byte>(pool_->block(full[turn])));
}

absl::StatusOr<StepResult> Executor::RunInEpoch(const StepPlan& plan) {
  const Time received = clock_->Now();
  RETURN_IF_ERROR(CheckOrder(plan));
  RETURN_IF_ERROR(ApplyClose(plan));
  RETURN_IF_ERROR(ApplyOpen(plan));
  RETURN_IF_ERROR(ApplyGrants(plan));
  RETURN_IF_ERROR(LayOutSpans(plan));
  StepResult result;
  result.epoch = plan.epoch;
  result.step = plan.step;
  result.rank = communicator_ == nullptr ? Rank(0) : communicator_->rank();
  if (!spans_.empty()) {
    if (communicator_ != nullptr) {
      communicator_->BeginStep({plan.epoch, plan.step});
    }
    const Time began = clock_->Now();
    RETURN_IF_ERROR(model_->Forward(spans_, *pool_, {}, &forward_));
    const Time forwarded = clock_->Now();
    RETURN_IF_ERROR(Commit(plan, &result));
    result.times.forward_ns = (forwarded - began).count();
    result.times.exchange_ns = forward_.exchange_ns;
    result.times.sample_ns = (clock_->Now() - forwarded).count();
    result.digest = CombineHash(DigestOf(result.sequences, forward_.digest), HashOfNextBlock());
  }
  last_step_ = plan.step;
  result.times.total_ns = (clock_->Now() - received).count();
  return result;
}

absl::StatusOr<StepResult> Executor::Run(const StepPlan& plan) {
  RETURN_IF_ERROR(ended_);
  auto result = RunInEpoch(plan);
  if (!result.ok()) {
    ended_ = absl::FailedPreconditionError(absl::StrFormat(
        "epoch %d ended on this rank: %s", epoch_.value(), result.status().message()));
  }
  return result;
}

}  // namespace sparkspan::engine::runtime
