#include "engine/runtime/executor.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/hash.h"
#include "engine/base/log.h"
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

SamplingFault FaultOf(const absl::Status& why) {
  return absl::IsInvalidArgument(why) ? SamplingFault::kNoTokenAllowed
                                      : SamplingFault::kLogitsNotFinite;
}

// All that a step says to the outside, so that ranks that agree on it agree on what is streamed.
std::uint64_t DigestOf(const std::vector<SequenceTokens>& sequences, std::uint64_t seed) {
  std::vector<std::uint64_t> words;
  for (const SequenceTokens& tokens : sequences) {
    words.push_back(tokens.sequence.value());
    words.push_back(static_cast<std::uint64_t>(tokens.position));
    words.push_back(static_cast<std::uint64_t>(tokens.drafted));
    words.push_back(static_cast<std::uint64_t>(tokens.accepted));
    words.push_back(static_cast<std::uint64_t>(tokens.proposed));
    words.push_back(static_cast<std::uint64_t>(tokens.fault));
    for (const float confidence : tokens.confidence) {
      words.push_back(std::bit_cast<std::uint32_t>(confidence));
    }
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

absl::StatusOr<std::unique_ptr<Executor>> Executor::Create(RankModel model,
                                                           collective::Communicator* communicator,
                                                           const ExecutorOptions& options,
                                                           const Clock* clock) {
  RETURN_IF_ERROR(InRange("kv_blocks", options.kv_blocks, PlanLimits::kBlocksMax));
  RETURN_IF_ERROR(InRange("sequences_max", options.sequences_max, PlanLimits::kSequencesMax));
  RETURN_IF_ERROR(InRange("step_rows_max", options.step_rows_max, PlanLimits::kRowsMax));
  if (model.drafter != nullptr) {
    RETURN_IF_ERROR(
        InRange("the drafter's block", model.drafter->block(), PlanLimits::kDraftTokensMax));
    const int rewind = model.model->options().rewind_rows_max;
    if (rewind <= model.drafter->block()) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "rewind_rows_max of the model is %d: to take back a block of %d drafts it must be more",
          rewind,
          model.drafter->block()));
    }
  }
  ASSIGN_OR_RETURN(auto pool,
                   cache::KvPool::Create(model.model->cache_layout(), options.kv_blocks));
  return std::unique_ptr<Executor>(
      new Executor(std::move(model), communicator, options, clock, std::move(pool)));
}

Executor::Executor(RankModel model,
                   collective::Communicator* communicator,
                   const ExecutorOptions& options,
                   const Clock* clock,
                   std::unique_ptr<cache::KvPool> pool)
    : model_(std::move(model.model)),
      communicator_(communicator),
      options_(options),
      clock_(clock),
      pool_(std::move(pool)),
      owner_(static_cast<std::size_t>(options.kv_blocks)),
      ended_(absl::FailedPreconditionError("no epoch has begun on this rank")) {
  if (model.drafter != nullptr) {
    drafting_.emplace(std::move(model.drafter), options.sequences_max);
  }
  states_.reserve(static_cast<std::size_t>(options.sequences_max));
  for (std::int32_t i = 0; i < options.sequences_max; ++i) {
    states_.emplace_back(model_->cache_layout());
  }
}

void Executor::Reset(Epoch epoch) {
  block_turn_ = 0;
  sequences_.clear();
  std::fill(owner_.begin(), owner_.end(), std::nullopt);
  free_slots_.resize(states_.size());
  std::iota(free_slots_.begin(), free_slots_.end(), 0);
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
          .draft_tokens_max = drafting_.has_value() ? drafting_->block() : 0,
          .memory = {MemoryTaken()}};
}

RankMemory Executor::MemoryTaken() const {
  const kernels::CacheLayout& layout = model_->cache_layout();
  RankMemory memory = {.kv_bytes = layout.block_bytes * options_.kv_blocks,
                       .state_bytes = layout.state_bytes * options_.sequences_max,
                       .activation_bytes = model_->ActivationBytes(options_.step_rows_max)};
  if (drafting_.has_value()) {
    const std::int64_t logits =
        drafting_->block() * model_->parts().vocabulary * static_cast<std::int64_t>(sizeof(float));
    memory.state_bytes += drafting_->state_bytes() + logits * options_.sequences_max;
    memory.activation_bytes += drafting_->ActivationBytes(options_.step_rows_max);
  }
  return memory;
}

std::span<const std::int32_t> Executor::blocks_of(SequenceId sequence) const {
  const auto found = sequences_.find(sequence);
  return found == sequences_.end() ? std::span<const std::int32_t>() : found->second.blocks;
}

std::span<const std::byte> Executor::state_of(SequenceId sequence) {
  const auto found = sequences_.find(sequence);
  return found == sequences_.end() ? std::span<const std::byte>()
                                   : states_[found->second.slot].bytes();
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
    free_slots_.push_back(found->second.slot);
    sequences_.erase(found);
  }
  return absl::OkStatus();
}

absl::Status Executor::CheckTokens(const SequenceOpen& open) const {
  const std::int64_t vocabulary = model_->parts().vocabulary;
  const auto check = [&](const char* what, Token token) {
    return token >= 0 && token < vocabulary
               ? absl::OkStatus()
               : Refuse(open.sequence,
                        absl::StrFormat(
                            "%s token %d, the vocabulary has %d", what, token, vocabulary));
  };
  for (const Token token : open.sampling.suppressed_until_min_tokens) {
    RETURN_IF_ERROR(check("suppresses", token));
  }
  for (const LogitBias& bias : open.sampling.logit_bias) {
    RETURN_IF_ERROR(check("biases", bias.token));
  }
  for (const Token token : open.sampling.allowed_tokens) {
    RETURN_IF_ERROR(check("allows", token));
  }
  for (const Token token : open.sampling.forced.tokens) {
    RETURN_IF_ERROR(check("forces", token));
  }
  return absl::OkStatus();
}

absl::Status Executor::ApplyOpen(const StepPlan& plan) {
  for (const SequenceOpen& open : plan.open) {
    if (sequences_.contains(open.sequence)) {
      return Refuse(open.sequence, "is open already");
    }
    if (free_slots_.empty()) {
      return Refuse(open.sequence,
                    absl::StrFormat("is one more than the %d that may be open at once",
                                    options_.sequences_max));
    }
    RETURN_IF_ERROR(CheckTokens(open));
    Sequence& sequence = sequences_[open.sequence];
    sequence.sampling = open.sampling;
    sequence.prompt_tokens = open.prompt_tokens;
    sequence.slot = free_slots_.back();
    free_slots_.pop_back();
    const std::span<std::byte> bytes = states_[sequence.slot].bytes();
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    if (drafting_.has_value()) {
      drafting_->Open(sequence.slot);
    }
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

std::size_t Executor::DraftsOf(const RowSpan& span, const Sequence& sequence) const {
  return std::min(static_cast<std::size_t>(span.draft_tokens_max), sequence.proposal.tokens.size());
}

absl::Status Executor::CheckSpan(const RowSpan& span,
                                 const Sequence& sequence,
                                 std::int64_t first,
                                 std::int64_t rows) const {
  const bool literal = std::holds_alternative<std::vector<Token>>(span.tokens);
  const std::int64_t rewind =
      literal && !drafting_.has_value() ? model_->options().rewind_rows_max : 0;
  if (first > sequence.length || first < 0 || first < sequence.length - rewind) {
    return Refuse(
        span.sequence,
        absl::StrFormat(
            "has %d rows, the span begins at position %d", sequence.length, span.first_position));
  }
  if (!drafting_.has_value() && (span.draft_tokens_max != 0 || span.propose)) {
    return Refuse(span.sequence,
                  absl::StrFormat("is to verify %d drafts%s, this rank has no drafter",
                                  span.draft_tokens_max,
                                  span.propose ? " and propose more" : ""));
  }
  const std::int64_t length = first + rows;
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
  return absl::OkStatus();
}

absl::Status Executor::LayOutSpan(const RowSpan& span, Sequence& sequence) {
  std::span<const Token> tokens;
  std::int64_t first = span.first_position;
  bool verifies = false;
  if (const auto* literal = std::get_if<std::vector<Token>>(&span.tokens)) {
    tokens = *literal;
  } else {
    if (!sequence.last_committed.has_value()) {
      return Refuse(span.sequence, "has no committed token to go on from");
    }
    first = first == kSequenceEnd ? sequence.length : first;
    const std::size_t drafts = DraftsOf(span, sequence);
    verifies = drafts > 0;
    row_tokens_.push_back(*sequence.last_committed);
    const auto proposed = sequence.proposal.tokens.begin();
    row_tokens_.insert(row_tokens_.end(), proposed, proposed + static_cast<std::ptrdiff_t>(drafts));
    tokens = std::span<const Token>(row_tokens_).last(1 + drafts);
  }
  RETURN_IF_ERROR(CheckSpan(span, sequence, first, static_cast<std::int64_t>(tokens.size())));
  spans_.push_back({.state = &states_[sequence.slot],
                    .blocks = sequence.blocks,
                    .first_position = first,
                    .tokens = tokens,
                    .logits = !span.sample ? model::LogitsRows::kNone
                              : verifies   ? model::LogitsRows::kAll
                                           : model::LogitsRows::kLast});
  return absl::OkStatus();
}

absl::Status Executor::LayOutSpans(const StepPlan& plan) {
  spans_.clear();
  row_tokens_.clear();
  std::size_t decoding = 0;
  for (const RowSpan& span : plan.spans) {
    decoding += 1 + static_cast<std::size_t>(span.draft_tokens_max);
  }
  row_tokens_.reserve(decoding);  // spans_ points into it
  std::int64_t rows = 0;
  for (const RowSpan& span : plan.spans) {
    const auto found = sequences_.find(span.sequence);
    if (found == sequences_.end()) {
      return Refuse(span.sequence, "is not open and cannot be run");
    }
    RETURN_IF_ERROR(LayOutSpan(span, found->second));
    rows += static_cast<std::int64_t>(spans_.back().tokens.size());
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

void Executor::CommitSpan(const RowSpan& span,
                          const model::SequenceSpan& rows,
                          std::span<const float> logits,
                          StepResult* result) {
  Sequence& sequence = sequences_.at(span.sequence);
  const std::size_t drafts = rows.logits == model::LogitsRows::kAll ? rows.tokens.size() - 1 : 0;
  const std::size_t certain = rows.tokens.size() - drafts;
  TokenHistory* history = NeedsHistory(sequence.sampling) ? &sequence.history : nullptr;
  if (history != nullptr) {
    // The rows replace what the history has from their first position on: the token that was
    // committed there, or the tail that a rewind gives up.
    history->Truncate(rows.first_position);
    for (std::size_t i = 0; i < certain; ++i) {
      history->Append(rows.tokens[i], history->size() >= sequence.prompt_tokens);
    }
  }
  sequence.length = rows.first_position + static_cast<std::int64_t>(certain);
  sequence.last_committed = std::nullopt;
  const Proposal proposal = std::exchange(sequence.proposal, {});
  if (!span.sample) {
    return;
  }
  const std::int64_t position = sequence.length;
  SequenceTokens& tokens = result->sequences.emplace_back();
  tokens.sequence = span.sequence;
  tokens.position = position;
  tokens.drafted = static_cast<std::int32_t>(drafts);
  // What follows a fault is nobody's, but rows of a plan in flight go on from some token.
  sequence.last_committed = rows.tokens.back();
  tokens.fault = sequence.fault;
  if (tokens.fault != SamplingFault::kNone) {
    return;
  }
  auto verdict = acceptance_.Judge({.logits = logits,
                                    .drafts = rows.tokens.last(drafts),
                                    .draft_logits = proposal.logits,
                                    .position = position,
                                    .generated = position - sequence.prompt_tokens},
                                   sequence.sampling,
                                   history,
                                   &sequence.forced);
  if (!verdict.ok()) {
    // Every rank has the same logits and finds the same: the digest says so.
    LOG(ERROR) << "sequence " << span.sequence << " at position " << position << ": "
               << verdict.status().message();
    tokens.fault = sequence.fault = FaultOf(verdict.status());
    return;
  }
  sequence.length += verdict->accepted;
  sequence.last_committed = verdict->tokens.back().token;
  tokens.accepted = verdict->accepted;
  tokens.tokens = std::move(verdict->tokens);
}

void Executor::Commit(const StepPlan& plan, StepResult* result) {
  const auto vocabulary = static_cast<std::size_t>(model_->parts().vocabulary);
  std::span<const float> logits = forward_.logits;
  for (std::size_t i = 0; i < plan.spans.size(); ++i) {
    std::size_t rows = spans_[i].logits == model::LogitsRows::kAll ? spans_[i].tokens.size() : 1;
    rows = plan.spans[i].sample ? rows : 0;
    CommitSpan(plan.spans[i], spans_[i], logits.first(rows * vocabulary), result);
    logits = logits.subspan(rows * vocabulary);
  }
}

absl::Status Executor::Draft(const StepPlan& plan, StepResult* result) {
  committed_.clear();
  std::int64_t row = 0;
  for (std::size_t i = 0; i < plan.spans.size(); ++i) {
    const Sequence& sequence = sequences_.at(plan.spans[i].sequence);
    const bool proposes = plan.spans[i].propose && sequence.fault == SamplingFault::kNone;
    const model::SequenceSpan& rows = spans_[i];
    committed_.push_back({.slot = sequence.slot,
                          .first_position = rows.first_position,
                          .first_row = row,
                          .tokens = rows.tokens.first(
                              static_cast<std::size_t>(sequence.length - rows.first_position)),
                          .following = sequence.last_committed,
                          .propose_with = proposes ? &sequence.sampling : nullptr});
    row += static_cast<std::int64_t>(rows.tokens.size());
  }
  RETURN_IF_ERROR(drafting_->Run(forward_, committed_, &proposals_));
  auto tokens = result->sequences.begin();
  auto proposal = proposals_.begin();
  for (const RowSpan& span : plan.spans) {
    if (span.propose && tokens->fault == SamplingFault::kNone) {
      tokens->proposed = static_cast<std::int32_t>(proposal->tokens.size());
      tokens->confidence = proposal->confidence;
      sequences_.at(span.sequence).proposal = std::move(*proposal++);
    }
    tokens += span.sample ? 1 : 0;
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

absl::Status Executor::RunSpans(const StepPlan& plan, StepResult* result) {
  if (communicator_ != nullptr) {
    communicator_->BeginStep({plan.epoch, plan.step});
  }
  model::ForwardOptions options;
  if (drafting_.has_value()) {
    drafting_->AskOf(&options);
  }
  const Time began = clock_->Now();
  RETURN_IF_ERROR(model_->Forward(spans_, *pool_, options, &forward_));
  const Time forwarded = clock_->Now();
  Commit(plan, result);
  const Time chosen = clock_->Now();
  if (drafting_.has_value()) {
    RETURN_IF_ERROR(Draft(plan, result));
    result->times.draft_ns = (clock_->Now() - chosen).count();
  }
  result->times.forward_ns = (forwarded - began).count();
  result->times.exchange_ns = forward_.exchange_ns;
  result->times.sample_ns = (chosen - forwarded).count();
  result->digest = CombineHash(DigestOf(result->sequences, forward_.digest), HashOfNextBlock());
  return absl::OkStatus();
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
    RETURN_IF_ERROR(RunSpans(plan, &result));
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
