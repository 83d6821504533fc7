#include "engine/schedule/scheduler.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/runtime/plan_check.h"

namespace sparkspan::engine::schedule {
namespace {

// Prompts are cut where compressor state is smallest, so that caches can resume there
// (docs/decisions/0006).
constexpr std::int64_t kChunkAlignment = 128;

constexpr std::int64_t kPlansInFlightMax = 2;
constexpr std::int64_t kInt32Max = std::numeric_limits<std::int32_t>::max();

absl::Status InRange(const char* name, std::int64_t value, std::int64_t most) {
  if (value < 1 || value > most) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s is %d: must be 1 to %d", name, value, most));
  }
  return absl::OkStatus();
}

// How many tokens a result of a sequence must have.
std::size_t TokensOf(const runtime::SequenceTokens& tokens) {
  return tokens.fault == runtime::SamplingFault::kNone
             ? static_cast<std::size_t>(tokens.accepted) + 1
             : 0;
}

}  // namespace

absl::StatusOr<Scheduler> Scheduler::Create(const SchedulerOptions& options) {
  RETURN_IF_ERROR(InRange("kv_blocks", options.kv_blocks, runtime::PlanLimits::kBlocksMax));
  RETURN_IF_ERROR(InRange("kv_block_tokens", options.kv_block_tokens, kInt32Max));
  RETURN_IF_ERROR(InRange("running_max", options.running_max, runtime::PlanLimits::kSequencesMax));
  RETURN_IF_ERROR(InRange("waiting_max", options.waiting_max, kInt32Max));
  RETURN_IF_ERROR(
      InRange("context_tokens_max", options.context_tokens_max, runtime::PlanLimits::kPositionMax));
  RETURN_IF_ERROR(InRange("plans_in_flight_max", options.plans_in_flight_max, kPlansInFlightMax));
  RETURN_IF_ERROR(InRange("step_rows_max", options.step_rows_max, runtime::PlanLimits::kRowsMax));
  if (options.draft_tokens_max < 0 ||
      options.draft_tokens_max > runtime::PlanLimits::kDraftTokensMax ||
      (options.draft_tokens_max > 0 && options.plans_in_flight_max > 1)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("draft_tokens_max is %d with plans_in_flight_max %d: give 0 to %d, and 1 "
                        "plan in flight, as drafts make lengths unknown until a result is there",
                        options.draft_tokens_max,
                        options.plans_in_flight_max,
                        runtime::PlanLimits::kDraftTokensMax));
  }
  const std::int64_t decode_rows =
      std::int64_t{options.running_max} * (std::int64_t{1} + options.draft_tokens_max);
  if (options.step_rows_max < decode_rows) {
    return absl::InvalidArgumentError(
        absl::StrFormat("step_rows_max is %d: %d running sequences that each decode a token and %d "
                        "drafts need %d, raise it or lower running_max",
                        options.step_rows_max,
                        options.running_max,
                        options.draft_tokens_max,
                        decode_rows));
  }
  return Scheduler(options);
}

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options),
      drafting_({.policy = options.verification,
                 .block = options.draft_tokens_max,
                 .threshold = options.verification_threshold}) {
  DropRunning();
}

// Drafts may write a whole draft and one more beyond the last token (docs/decisions/0005).
std::int64_t Scheduler::DraftRows() const {
  return options_.draft_tokens_max > 0 ? options_.draft_tokens_max + 1 : 0;
}

std::int64_t Scheduler::RequestTokensMax() const {
  const std::int64_t rows = std::int64_t{options_.kv_blocks} * options_.kv_block_tokens;
  return std::clamp<std::int64_t>(rows - DraftRows() + 1, 0, options_.context_tokens_max);
}

std::int64_t Scheduler::BlocksFor(const Request& request) const {
  // The last token is committed but never run.
  const std::int64_t tokens =
      static_cast<std::int64_t>(request.prompt.size()) + request.max_tokens - 1 + DraftRows();
  return (tokens + options_.kv_block_tokens - 1) / options_.kv_block_tokens;
}

absl::Status Scheduler::CheckRequest(const Request& request) const {
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  if (prompt == 0) {
    return absl::InvalidArgumentError("prompt has no tokens: give it at least one");
  }
  if (request.max_tokens < 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("max_tokens is %d: must be at least 1", request.max_tokens));
  }
  if (prompt > options_.context_tokens_max ||
      request.max_tokens > options_.context_tokens_max - prompt) {
    return absl::InvalidArgumentError(
        absl::StrFormat("max_tokens is %d after a prompt of %d tokens: the context is %d tokens, "
                        "shorten either",
                        request.max_tokens,
                        prompt,
                        options_.context_tokens_max));
  }
  RETURN_IF_ERROR(runtime::CheckSampling(request.sampling));
  if (BlocksFor(request) > options_.kv_blocks) {
    return absl::InvalidArgumentError(
        absl::StrFormat("max_tokens is %d after a prompt of %d tokens: needs %d KV blocks of %d "
                        "tokens, the server has %d, shorten either",
                        request.max_tokens,
                        prompt,
                        BlocksFor(request),
                        options_.kv_block_tokens,
                        options_.kv_blocks));
  }
  return absl::OkStatus();
}

absl::StatusOr<SequenceId> Scheduler::Admit(Request request, Time /*now*/) {
  RETURN_IF_ERROR(CheckRequest(request));
  if (waiting_.size() >= static_cast<std::size_t>(options_.waiting_max)) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%d requests wait already: try again later", waiting_.size()));
  }
  std::sort(request.end_tokens.begin(), request.end_tokens.end());
  last_id_ = SequenceId(last_id_.value() + 1);
  auto place = waiting_.end();
  if (options_.priorities) {
    place = std::find_if(waiting_.begin(), waiting_.end(), [&](const Waiting& other) {
      return other.request.priority > request.priority;
    });
  }
  waiting_.insert(place, {last_id_, std::move(request)});
  return last_id_;
}

void Scheduler::Cancel(SequenceId id) {
  const auto waiting = std::find_if(
      waiting_.begin(), waiting_.end(), [&](const Waiting& other) { return other.id == id; });
  if (waiting != waiting_.end()) {
    waiting_.erase(waiting);
    ++stats_.cancelled_total;
    return;
  }
  const auto found = sequences_.find(id);
  if (found != sequences_.end() && found->second.life == Life::kRunning) {
    Retire(id, &found->second);
    ++stats_.cancelled_total;
  }
}

void Scheduler::Retire(SequenceId id, Sequence* sequence) {
  sequence->life = Life::kRetired;
  std::erase(running_, id);
  retired_.push_back(id);
}

void Scheduler::Release(SequenceId id) {
  const auto found = sequences_.find(id);
  // Backwards, so that a sequence alone takes the same blocks again in the same order.
  free_blocks_.insert(
      free_blocks_.end(), found->second.blocks.rbegin(), found->second.blocks.rend());
  sequences_.erase(found);
}

bool Scheduler::CanRun(const Sequence& sequence) const {
  const auto prompt = static_cast<std::int64_t>(sequence.request.prompt.size());
  return sequence.prompt_planned < prompt || sequence.tokens_planned < sequence.request.max_tokens;
}

bool Scheduler::CanOpenNext() const {
  return !waiting_.empty() && running_.size() < static_cast<std::size_t>(options_.running_max) &&
         BlocksFor(waiting_.front().request) <= static_cast<std::int64_t>(free_blocks_.size());
}

bool Scheduler::HasWork() const {
  if (in_flight_.size() >= static_cast<std::size_t>(options_.plans_in_flight_max)) {
    return false;
  }
  // Closing may make room for the next request, so it is work by itself.
  return !retired_.empty() || CanOpenNext() ||
         std::any_of(running_.begin(), running_.end(), [&](SequenceId id) {
           return CanRun(sequences_.at(id));
         });
}

void Scheduler::PlanClose(Draft* draft) {
  for (const SequenceId id : std::exchange(retired_, {})) {
    draft->plan.close.push_back(id);
    Sequence& sequence = sequences_.at(id);
    if (sequence.plans_in_flight == 0) {
      Release(id);
    } else {
      sequence.life = Life::kClosed;
    }
  }
}

void Scheduler::AddSpan(runtime::RowSpan span, std::int64_t rows, Draft* draft) {
  Sequence& sequence = sequences_.at(span.sequence);
  if (span.sample) {
    // Drafts for the last token are of no use; verifying one takes two tokens that may come.
    const std::int64_t left = sequence.request.max_tokens - sequence.tokens_planned - 1;
    span.propose = draft->propose && left >= 2;
    draft->in_flight.samples.push_back(
        {span.sequence,
         static_cast<std::int64_t>(sequence.request.prompt.size()) + sequence.tokens_planned,
         span.draft_tokens_max,
         span.propose,
         std::exchange(sequence.survival, {})});
    ++sequence.tokens_planned;
  }
  ++sequence.plans_in_flight;
  draft->in_flight.sequences.push_back(span.sequence);
  draft->rows_left -= rows;
  draft->plan.spans.push_back(std::move(span));
}

bool Scheduler::Decodes(const Sequence& sequence) const {
  return sequence.prompt_planned == static_cast<std::int64_t>(sequence.request.prompt.size()) &&
         sequence.tokens_planned < sequence.request.max_tokens;
}

// An estimate of the prefill that will share the step, made before its decode rows are known.
std::int64_t Scheduler::PrefillRowsWaiting() const {
  std::int64_t rows = 0;
  for (const SequenceId id : running_) {
    const Sequence& sequence = sequences_.at(id);
    rows += static_cast<std::int64_t>(sequence.request.prompt.size()) - sequence.prompt_planned;
  }
  if (CanOpenNext()) {
    rows += static_cast<std::int64_t>(waiting_.front().request.prompt.size());
  }
  return std::min(rows, options_.step_rows_max);
}

void Scheduler::PlanDecodes(Draft* draft) {
  std::vector<SequenceId> decoding;
  std::vector<Candidate> candidates;
  for (const SequenceId id : running_) {
    const Sequence& sequence = sequences_.at(id);
    if (!Decodes(sequence)) {
      continue;
    }
    // The last token is committed without being run: no draft can stand for it.
    const std::int64_t most = sequence.request.max_tokens - sequence.tokens_planned - 1;
    const std::span<const double> survival = sequence.survival;
    decoding.push_back(id);
    candidates.push_back(
        {survival.first(std::min(survival.size(), static_cast<std::size_t>(most)))});
  }
  const std::int64_t prefill = PrefillRowsWaiting();
  const std::vector<std::int32_t> lengths = drafting_.Lengths(candidates, prefill);
  draft->propose = drafting_.ShouldPropose(
      std::max<std::int64_t>(static_cast<std::int64_t>(decoding.size()), prefill > 0 ? 1 : 0),
      prefill);
  for (std::size_t i = 0; i < decoding.size(); ++i) {
    PlanDecode(decoding[i], lengths[i], draft);
  }
}

void Scheduler::PlanDecode(SequenceId id, std::int32_t drafts, Draft* draft) {
  const Sequence& sequence = sequences_.at(id);
  runtime::RowSpan span;
  span.sequence = id;
  span.first_position =
      static_cast<std::int64_t>(sequence.request.prompt.size()) + sequence.tokens_planned - 1;
  span.tokens = runtime::LastCommitted{};
  span.sample = true;
  span.draft_tokens_max = drafts;
  const std::int64_t rows = 1 + span.draft_tokens_max;
  AddSpan(std::move(span), rows, draft);
}

void Scheduler::PlanChunk(SequenceId id, Draft* draft) {
  Sequence& sequence = sequences_.at(id);
  const std::vector<Token>& prompt = sequence.request.prompt;
  const auto size = static_cast<std::int64_t>(prompt.size());
  const std::int64_t first = sequence.prompt_planned;
  std::int64_t end = std::min(size, first + draft->rows_left);
  if (end == first) {
    return;
  }
  const std::int64_t aligned = end / kChunkAlignment * kChunkAlignment;
  if (end < size && aligned > first) {
    end = aligned;
  }
  runtime::RowSpan span;
  span.sequence = id;
  span.first_position = first;
  span.tokens = std::vector<Token>(prompt.begin() + static_cast<std::ptrdiff_t>(first),
                                   prompt.begin() + static_cast<std::ptrdiff_t>(end));
  span.sample = end == size;
  sequence.prompt_planned = end;
  stats_.prompt_tokens_total += static_cast<std::uint64_t>(end - first);
  AddSpan(std::move(span), end - first, draft);
}

SequenceId Scheduler::OpenNext(Draft* draft) {
  Waiting next = std::move(waiting_.front());
  waiting_.pop_front();
  Sequence& sequence = sequences_[next.id];
  for (std::int64_t i = BlocksFor(next.request); i > 0; --i) {
    sequence.blocks.push_back(free_blocks_.back());
    free_blocks_.pop_back();
  }
  draft->plan.open.push_back(
      {next.id, next.request.sampling, static_cast<std::int64_t>(next.request.prompt.size())});
  draft->plan.grants.push_back({next.id, sequence.blocks});
  sequence.request = std::move(next.request);
  running_.push_back(next.id);
  return next.id;
}

runtime::StepPlan Scheduler::Plan(Time now) {
  CHECK_LT(in_flight_.size(), static_cast<std::size_t>(options_.plans_in_flight_max));
  last_step_ = Step(last_step_.value() + 1);
  Draft draft;
  draft.rows_left = options_.step_rows_max;
  draft.plan.epoch = options_.epoch;
  draft.plan.step = draft.in_flight.step = last_step_;
  PlanClose(&draft);
  PlanDecodes(&draft);
  for (const SequenceId id : running_) {
    PlanChunk(id, &draft);
  }
  while (draft.rows_left > 0 && CanOpenNext()) {
    PlanChunk(OpenNext(&draft), &draft);
  }
  stats_.oldest_waiting = waiting_.empty() ? Duration(0) : now - waiting_.front().request.arrival;
  ++stats_.plans_total;
  in_flight_.push_back(std::move(draft.in_flight));
  return std::move(draft.plan);
}

absl::Status Scheduler::CheckResult(const runtime::StepResult& result) const {
  if (in_flight_.empty() || result.epoch != options_.epoch ||
      result.step != in_flight_.front().step) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a result of epoch %d step %d, expected epoch %d step %d",
                        result.epoch.value(),
                        result.step.value(),
                        options_.epoch.value(),
                        in_flight_.empty() ? 0 : in_flight_.front().step.value()));
  }
  const std::vector<Sample>& samples = in_flight_.front().samples;
  if (result.sequences.size() != samples.size()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the result of step %d has tokens of %d sequences, the plan asked for %d",
                        result.step.value(),
                        result.sequences.size(),
                        samples.size()));
  }
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const runtime::SequenceTokens& tokens = result.sequences[i];
    if (tokens.sequence != samples[i].sequence || tokens.position != samples[i].position ||
        tokens.drafted < 0 || tokens.drafted > samples[i].draft_tokens_max || tokens.accepted < 0 ||
        tokens.accepted > tokens.drafted || tokens.proposed < 0 ||
        tokens.proposed > (samples[i].propose ? options_.draft_tokens_max : 0) ||
        tokens.tokens.size() != TokensOf(tokens)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "the result of step %d has %d tokens of sequence %d at position %d (%d drafted, %d "
          "accepted, %d proposed), the plan asked for sequence %d at position %d with at most %d "
          "drafts and to propose %d",
          result.step.value(),
          tokens.tokens.size(),
          tokens.sequence.value(),
          tokens.position,
          tokens.drafted,
          tokens.accepted,
          tokens.proposed,
          samples[i].sequence.value(),
          samples[i].position,
          samples[i].draft_tokens_max,
          samples[i].propose ? options_.draft_tokens_max : 0));
    }
  }
  return absl::OkStatus();
}

TokenEvent Scheduler::Deliver(const runtime::SequenceTokens& tokens, Sequence* sequence) {
  const Request& request = sequence->request;
  TokenEvent event{.sequence = tokens.sequence,
                   .tokens = {},
                   .drafted = tokens.drafted,
                   .accepted = tokens.accepted,
                   .finish = std::nullopt};
  for (const runtime::CommittedToken& token : tokens.tokens) {
    event.tokens.push_back(token);
    ++sequence->tokens_delivered;
    const bool ends =
        std::binary_search(request.end_tokens.begin(), request.end_tokens.end(), token.token);
    if (ends && sequence->tokens_delivered >= request.sampling.min_tokens) {
      event.finish = Finish{.reason = FinishReason::kStop, .token = token.token};
      break;
    }
    if (sequence->tokens_delivered == request.max_tokens) {
      event.finish = Finish{.reason = FinishReason::kLength, .token = {}};
      break;
    }
  }
  if (tokens.fault != runtime::SamplingFault::kNone) {
    event.finish = Finish{.reason = FinishReason::kFault, .token = {}, .fault = tokens.fault};
  }
  stats_.generation_tokens_total += event.tokens.size();
  // What lies behind the end of the text is nobody's.
  event.accepted = std::min(event.accepted, static_cast<std::int32_t>(event.tokens.size()));
  if (event.finish.has_value()) {
    ++stats_.finished_total;
    Retire(tokens.sequence, sequence);
  } else if (options_.draft_tokens_max > 0) {
    sequence->tokens_planned = sequence->tokens_delivered;
    sequence->survival = drafting_.Survival(tokens.confidence, tokens.proposed);
  }
  return event;
}

void Scheduler::CountDrafts(const runtime::SequenceTokens& tokens, const Sample& sample) {
  if (tokens.drafted > 0 && tokens.fault == runtime::SamplingFault::kNone) {
    ++stats_.drafts_total;
    stats_.draft_tokens_total += static_cast<std::uint64_t>(tokens.drafted);
    stats_.accepted_tokens_total += static_cast<std::uint64_t>(tokens.accepted);
    drafting_.Observe(sample.survival, tokens.drafted, tokens.accepted);
  }
}

absl::StatusOr<std::vector<TokenEvent>> Scheduler::Absorb(const runtime::StepResult& result) {
  RETURN_IF_ERROR(CheckResult(result));
  const InFlight done = std::move(in_flight_.front());
  in_flight_.pop_front();
  std::vector<TokenEvent> events;
  for (std::size_t i = 0; i < result.sequences.size(); ++i) {
    const runtime::SequenceTokens& tokens = result.sequences[i];
    CountDrafts(tokens, done.samples[i]);
    Sequence& sequence = sequences_.at(tokens.sequence);
    // A plan made before an end was known may have gone on: those tokens are nobody's.
    if (sequence.life == Life::kRunning) {
      events.push_back(Deliver(tokens, &sequence));
    }
  }
  for (const SequenceId id : done.sequences) {
    Sequence& sequence = sequences_.at(id);
    --sequence.plans_in_flight;
    if (sequence.life == Life::kClosed && sequence.plans_in_flight == 0) {
      Release(id);
    }
  }
  return events;
}

std::vector<SequenceId> Scheduler::DropRunning() {
  sequences_.clear();
  retired_.clear();
  in_flight_.clear();
  free_blocks_.resize(static_cast<std::size_t>(options_.kv_blocks));
  for (std::int32_t i = 0; i < options_.kv_blocks; ++i) {
    free_blocks_[static_cast<std::size_t>(i)] = options_.kv_blocks - 1 - i;
  }
  return std::exchange(running_, {});
}

std::vector<SequenceId> Scheduler::Reset(Epoch epoch) {
  CHECK_GT(epoch, options_.epoch);
  options_.epoch = epoch;
  last_step_ = Step(0);
  return DropRunning();
}

std::vector<SequenceId> Scheduler::FailAll() {
  std::vector<SequenceId> ended = DropRunning();
  for (const Waiting& waiting : std::exchange(waiting_, {})) {
    ended.push_back(waiting.id);
  }
  return ended;
}

ScheduleStats Scheduler::Stats() const {
  ScheduleStats stats = stats_;
  stats.running = static_cast<std::int64_t>(running_.size() + retired_.size());
  stats.waiting = static_cast<std::int64_t>(waiting_.size());
  stats.kv_blocks_used = options_.kv_blocks - static_cast<std::int32_t>(free_blocks_.size());
  stats.plans_in_flight = static_cast<std::int32_t>(in_flight_.size());
  stats.drafts_by_position.assign(drafting_.statistics().begin(), drafting_.statistics().end());
  return stats;
}

}  // namespace sparkspan::engine::schedule
