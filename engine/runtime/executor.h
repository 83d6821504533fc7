#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/cache/kv_pool.h"
#include "engine/collective/communicator.h"
#include "engine/model/model.h"
#include "engine/runtime/acceptance.h"
#include "engine/runtime/cluster.h"
#include "engine/runtime/drafting.h"
#include "engine/runtime/plan.h"
#include "engine/runtime/rank_model.h"
#include "engine/runtime/token_history.h"

namespace sparkspan::engine::runtime {

struct ExecutorOptions {
  std::int32_t kv_blocks = 0;      // of the pool; at least 1
  std::int32_t sequences_max = 0;  // open at once; at least 1
  std::int64_t step_rows_max = 0;  // rows of a plan; at least 1
};

// Runs numbered plans on one rank, exactly as they say: a deterministic machine whose state is the
// weights, the KV pool and what the plans since the last Reset made of them. Owns the pool and the
// states of sequences, both allocated at start, so that memory is taken before the first request.
// One thread at a time.
class Executor {
 public:
  // `model` is taken over. `communicator` is the model's (null for a single rank), used to name
  // steps only; it and `clock` are borrowed and must outlive the executor. InvalidArgument: options
  // out of range; a model that cannot take back a whole block of drafts.
  static absl::StatusOr<std::unique_ptr<Executor>> Create(RankModel model,
                                                          collective::Communicator* communicator,
                                                          const ExecutorOptions& options,
                                                          const Clock* clock);

  // Begins an epoch: forgets every sequence, frees every block and expects step 1. Weights and pool
  // stay. Must be called before the first Run.
  void Reset(Epoch epoch);

  // Runs one plan: close, open, grants, spans, in this order. Ranks that are given equal plans
  // commit equal tokens and digests. Any error ends the epoch: later plans are refused until Reset.
  // Errors: FailedPrecondition (epoch or step out of order, or ended epoch), InvalidArgument (a
  // plan that contradicts this rank's state; names the sequence), those of the communicator,
  // DataLoss (logits that are not numbers). The caller tells the other ranks (Communicator::Abort).
  absl::StatusOr<StepResult> Run(const StepPlan& plan);

  const ExecutorOptions& options() const { return options_; }
  const model::Model& model() const { return *model_; }
  Epoch epoch() const { return epoch_; }

  // The rank's part of a cluster's shape, with `ranks` of the communicator.
  ClusterShape Shape() const;

  // The stored bytes, for saving, restoring and fault injection. Blocks of `sequence` in order of
  // position; empty for a sequence that is not open.
  cache::KvPool& pool() { return *pool_; }
  std::span<const std::int32_t> blocks_of(SequenceId sequence) const;
  std::span<const std::byte> state_of(SequenceId sequence);

 private:
  struct Sequence {
    SamplingParams sampling;
    std::int64_t prompt_tokens = 0;
    std::int64_t length = 0;  // rows that were run
    // The token at position `length`, chosen but not run yet.
    std::optional<Token> last_committed;
    // Up to last_committed; kept only where NeedsHistory(sampling).
    TokenHistory history;
    ForcedProgress forced;
    // Once set no token is chosen any more. A plan that was made before this was known may still
    // have rows of the sequence.
    SamplingFault fault = SamplingFault::kNone;
    Proposal proposal;  // drafts to follow last_committed
    std::vector<std::int32_t> blocks;
    std::size_t slot = 0;  // of states_, and of the drafter's
  };

  Executor(RankModel model,
           collective::Communicator* communicator,
           const ExecutorOptions& options,
           const Clock* clock,
           std::unique_ptr<cache::KvPool> pool);

  absl::StatusOr<StepResult> RunInEpoch(const StepPlan& plan);
  absl::Status CheckOrder(const StepPlan& plan) const;
  absl::Status ApplyClose(const StepPlan& plan);
  absl::Status CheckTokens(const SequenceOpen& open) const;
  absl::Status ApplyOpen(const StepPlan& plan);
  absl::Status ApplyGrants(const StepPlan& plan);
  // Fills spans_ and row_tokens_; changes no sequence.
  absl::Status LayOutSpans(const StepPlan& plan);
  absl::Status LayOutSpan(const RowSpan& span, Sequence& sequence);
  absl::Status CheckSpan(const RowSpan& span,
                         const Sequence& sequence,
                         std::int64_t first,
                         std::int64_t rows) const;
  std::size_t DraftsOf(const RowSpan& span, const Sequence& sequence) const;
  absl::Status RunSpans(const StepPlan& plan, StepResult* result);
  // Chooses tokens, and settles which of the rows stand.
  void Commit(const StepPlan& plan, StepResult* result);
  void CommitSpan(const RowSpan& span,
                  const model::SequenceSpan& rows,
                  std::span<const float> logits,
                  StepResult* result);
  // After Commit: drafts for the steps to come.
  absl::Status Draft(const StepPlan& plan, StepResult* result);
  std::uint64_t HashOfNextBlock();
  RankMemory MemoryTaken() const;

  std::unique_ptr<model::Model> model_;
  collective::Communicator* communicator_;
  ExecutorOptions options_;
  const Clock* clock_;
  std::unique_ptr<cache::KvPool> pool_;
  std::optional<Drafting> drafting_;              // none without a drafter
  std::vector<cache::SequenceState> states_;      // [sequences_max]
  std::vector<std::size_t> free_slots_;           // of states_; the last is taken first
  std::vector<std::optional<SequenceId>> owner_;  // [kv_blocks]
  std::map<SequenceId, Sequence> sequences_;
  Acceptance acceptance_;
  Epoch epoch_;
  Step last_step_;
  std::size_t block_turn_ = 0;  // counts the KV blocks whose bytes went into digests
  absl::Status ended_;          // why no plan can be run; OK inside an epoch
  // Of the plan in progress; kept for their memory.
  std::vector<model::SequenceSpan> spans_;
  std::vector<Token> row_tokens_;  // of the spans that go on from the last committed token
  model::ForwardResult forward_;
  std::vector<CommittedRows> committed_;
  std::vector<Proposal> proposals_;
};

}  // namespace sparkspan::engine::runtime
