#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/runtime/plan.h"
#include "engine/schedule/draft_planner.h"

namespace sparkspan::engine::schedule {

struct SchedulerOptions {
  std::int32_t kv_blocks = 0;
  std::int32_t kv_block_tokens = 256;
  std::int32_t running_max = 1;      // sequences that have state; ClusterShape::sequences_max
  std::int32_t waiting_max = 64;     // requests that have none yet
  std::int64_t step_rows_max = 512;  // rows of a plan; ClusterShape::step_rows_max
  std::int64_t context_tokens_max = 0;
  std::int32_t draft_tokens_max = 0;  // a proposal of the drafter; 0: none, whatever the policy
  VerificationPolicy verification = VerificationPolicy::kFixed;
  double verification_threshold = 0.3;   // of VerificationPolicy::kThreshold
  std::int32_t plans_in_flight_max = 1;  // 2: plan a step before the result of the one before
  bool priorities = false;               // lower Request::priority first; else strictly first come
  Epoch epoch;
};

struct Request {
  std::vector<Token> prompt;  // not empty
  runtime::SamplingParams sampling;
  std::int64_t max_tokens = 1;  // generated ones, the one that ends the answer included
  // Any of these ends the request once sampling.min_tokens have been generated. In any order.
  std::vector<Token> end_tokens;
  std::int32_t priority = 0;
  Time arrival;
};

enum class FinishReason : std::uint8_t {
  kStop,    // one of end_tokens
  kLength,  // max_tokens
  kFault,   // no token could be chosen
};

struct Finish {
  FinishReason reason = FinishReason::kStop;
  std::optional<Token> token;  // kStop: the end token, also the last of the event's tokens
  runtime::SamplingFault fault = runtime::SamplingFault::kNone;  // of kFault

  bool operator==(const Finish&) const = default;
};

// What a step did for one request. Tokens come in order, each once; nothing follows a finish.
struct TokenEvent {
  SequenceId sequence;
  std::vector<runtime::CommittedToken> tokens;
  std::int32_t drafted = 0;
  std::int32_t accepted = 0;
  std::optional<Finish> finish;
};

// Counters only grow, over epochs too.
struct ScheduleStats {
  std::int64_t running = 0;  // have state, or had it in a plan that is still in flight
  std::int64_t waiting = 0;
  std::int32_t kv_blocks_used = 0;
  std::int32_t plans_in_flight = 0;
  std::uint64_t plans_total = 0;
  std::uint64_t prompt_tokens_total = 0;      // planned prefill rows
  std::uint64_t generation_tokens_total = 0;  // tokens in events
  std::uint64_t finished_total = 0;
  std::uint64_t cancelled_total = 0;
  std::uint64_t drafts_total = 0;        // steps of a request that verified drafts
  std::uint64_t draft_tokens_total = 0;  // those verified
  std::uint64_t accepted_tokens_total = 0;
  std::vector<PositionStatistics> drafts_by_position;  // [draft_tokens_max]
  Duration oldest_waiting{0};                          // since its arrival, at the last Plan
};

// First come, first served: decides what every step does. Pure (no I/O, no threads, no clock): the
// same calls give the same plans. One thread at a time.
//
// A step has a row for every running sequence that decodes and one for each of its drafts that is
// to be verified, as many as the policy says, then prefill in order of arrival up to step_rows_max.
// A request enters when there is a place for it and KV blocks for its whole prompt and all of
// max_tokens: what runs can always run to its end, so nothing ever waits for a block that only it
// could free, and no preemption is needed. The price is blocks that short answers never fill. A
// later planner may grow sequences instead: plans already grant blocks step by step. Later requests
// never overtake one that waits for blocks, so none starves.
class Scheduler {
 public:
  // InvalidArgument: options that would let a step overflow or nothing ever run.
  static absl::StatusOr<Scheduler> Create(const SchedulerOptions& options);

  // Queues a request. Ids count up from 1 and are never used again. ResourceExhausted: the queue is
  // full. InvalidArgument: it could never run (empty prompt, more than the context, more blocks
  // than there are).
  absl::StatusOr<SequenceId> Admit(Request request, Time now);

  // Ends a request without a further event; its state is released by the next plan. Unknown or
  // finished ids are ignored.
  void Cancel(SequenceId id);

  // Whether Plan would give a plan that does something, be it only to close sequences. False while
  // plans_in_flight_max are in flight.
  bool HasWork() const;

  // The next plan, numbered. Every plan must be submitted, and its result absorbed in order. Must
  // not be called with plans_in_flight_max in flight. `open` lists the requests that leave the
  // queue, with their first prefill rows in `spans`.
  runtime::StepPlan Plan(Time now);

  // Takes over the agreed result of the oldest plan in flight. InvalidArgument: it does not answer
  // that plan; nothing has changed, and the epoch should be given up (Reset).
  absl::StatusOr<std::vector<TokenEvent>> Absorb(const runtime::StepResult& result);

  // A new epoch, at step 1: the ranks have forgotten every sequence. Returns the requests that had
  // state, oldest first; they end here without an event. Waiting ones wait on.
  std::vector<SequenceId> Reset(Epoch epoch);

  // Ends everything, waiting requests too, and returns the ids, oldest first. For a cluster that
  // will not come back; Reset before the next Plan.
  std::vector<SequenceId> FailAll();

  // What steps were measured to cost, for VerificationPolicy::kHardware; before, all drafts are
  // verified.
  void SetStepCosts(StepCosts costs) { drafting_.SetCosts(std::move(costs)); }

  // DraftPlanner's, without the copies of Stats.
  double RecentFirstAcceptance() const { return drafting_.RecentFirstAcceptance(); }

  // Prompt and answer of one request at most: the context, or what the KV blocks hold beside the
  // rows that drafts may write.
  std::int64_t RequestTokensMax() const;

  ScheduleStats Stats() const;
  const SchedulerOptions& options() const { return options_; }

 private:
  enum class Life : std::uint8_t {
    kRunning,
    kRetired,  // finished or cancelled: the next plan closes it
    kClosed,   // closed by a plan; only an earlier one in flight still uses its blocks
  };

  struct Sequence {
    Request request;
    Life life = Life::kRunning;
    std::int64_t prompt_planned = 0;  // rows of the prompt
    // Tokens that the plans so far commit, one per sample; with drafts, those known to be.
    std::int64_t tokens_planned = 0;
    std::int64_t tokens_delivered = 0;
    // Of the drafts proposed for the next decode step; emptied when a plan has taken them up.
    std::vector<double> survival;
    std::vector<std::int32_t> blocks;
    std::int32_t plans_in_flight = 0;  // that have rows of it
  };

  struct Waiting {
    SequenceId id;
    Request request;
  };

  struct Sample {
    SequenceId sequence;
    std::int64_t position = 0;  // of the token it commits
    std::int32_t draft_tokens_max = 0;
    bool propose = false;
    std::vector<double> survival;  // of the drafts verified, and perhaps further ones
  };

  // What a plan in flight refers to.
  struct InFlight {
    Step step;
    std::vector<SequenceId> sequences;
    std::vector<Sample> samples;  // in the order of the spans
  };

  // A plan in the making.
  struct Draft {
    runtime::StepPlan plan;
    InFlight in_flight;
    std::int64_t rows_left = 0;
    bool propose = false;  // whether its samples are to propose drafts
  };

  explicit Scheduler(const SchedulerOptions& options);

  absl::Status CheckRequest(const Request& request) const;
  std::int64_t DraftRows() const;
  std::int64_t BlocksFor(const Request& request) const;
  bool CanRun(const Sequence& sequence) const;
  bool CanOpenNext() const;
  void PlanClose(Draft* draft);
  void PlanDecodes(Draft* draft);
  void PlanDecode(SequenceId id, std::int32_t drafts, Draft* draft);
  void PlanChunk(SequenceId id, Draft* draft);
  SequenceId OpenNext(Draft* draft);
  void AddSpan(runtime::RowSpan span, std::int64_t rows, Draft* draft);
  bool Decodes(const Sequence& sequence) const;
  std::int64_t PrefillRowsWaiting() const;
  absl::Status CheckResult(const runtime::StepResult& result) const;
  void CountDrafts(const runtime::SequenceTokens& tokens, const Sample& sample);
  TokenEvent Deliver(const runtime::SequenceTokens& tokens, Sequence* sequence);
  void Retire(SequenceId id, Sequence* sequence);
  void Release(SequenceId id);
  std::vector<SequenceId> DropRunning();

  SchedulerOptions options_;
  std::map<SequenceId, Sequence> sequences_;
  std::vector<SequenceId> running_;  // in the order they entered
  std::vector<SequenceId> retired_;
  std::deque<Waiting> waiting_;
  std::vector<std::int32_t> free_blocks_;  // the last is taken first
  std::deque<InFlight> in_flight_;
  SequenceId last_id_;
  Step last_step_;
  DraftPlanner drafting_;
  ScheduleStats stats_;
};

}  // namespace sparkspan::engine::schedule
