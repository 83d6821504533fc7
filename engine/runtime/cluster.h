#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/runtime/plan.h"

// The seam between deciding and doing: who plans steps sees the ranks only as a Cluster, be they
// threads of this process, other nodes, or a simulation.
namespace sparkspan::engine::runtime {

// Bytes that one rank holds.
struct RankMemory {
  std::int64_t kv_bytes = 0;          // the block pool
  std::int64_t state_bytes = 0;       // the states of `sequences_max` sequences
  std::int64_t activation_bytes = 0;  // of a step of `step_rows_max` rows

  bool operator==(const RankMemory&) const = default;
};

// What plans must fit. The same on every rank: the smallest rank decides.
struct ClusterShape {
  std::int32_t ranks = 1;
  Epoch epoch;
  std::int64_t vocabulary = 0;
  std::int32_t kv_blocks = 0;
  std::int32_t kv_block_tokens = 0;
  std::int32_t sequences_max = 0;     // open at once
  std::int64_t step_rows_max = 0;     // rows of one plan
  std::int32_t draft_tokens_max = 0;  // 0: no drafter
  std::vector<RankMemory> memory;     // [ranks]
};

// One thread at a time calls it. After any error other than DeadlineExceeded the epoch is over:
// Submit and Collect return that error until Reform.
class Cluster {
 public:
  virtual ~Cluster() = default;

  virtual ClusterShape Shape() const = 0;

  // Hands the plan to every rank and returns without waiting for it. Plans run in the order of
  // submission. ResourceExhausted, which ends no epoch: more plans in flight than the cluster
  // queues (two at least).
  virtual absl::Status Submit(const StepPlan& plan) = 0;

  // The result of the oldest plan in flight, once every rank has it and all agree (AgreeResults).
  // DeadlineExceeded: not yet; the plan stays in flight. FailedPrecondition: none is in flight.
  virtual absl::StatusOr<StepResult> Collect(Time deadline) = 0;

  // OK while no rank is known to be lost, else why the epoch is over. Does not wait. To be asked at
  // least every 100 ms while nothing is in flight: else a loss shows at the next plan only.
  virtual absl::Status Watch() = 0;

  // Ends the present epoch, whatever is in flight, and begins `next` with the same weights and
  // without any sequence. `next` must be later than the present epoch. An error leaves the cluster
  // without an epoch: Reform again. Unavailable: a rank was not ready in time. Aborted: `next` is
  // not later than NewestEpoch().
  virtual absl::Status Reform(Epoch next, Time deadline) = 0;

  // The newest epoch that a rank said to have served, where Reform was Aborted because it is not
  // older than the one that was asked for: a later one will do. Ranks that live no longer than who
  // plans for them know of none.
  virtual Epoch NewestEpoch() const { return Epoch(); }
};

// The one rule of what may be streamed (docs/decisions/0007): the results of all ranks, of one plan
// and in rank order, as one. DataLoss when digests differ, Internal when they are not of one plan
// or not one of each rank; both name the step and the ranks. The tokens are those of rank 0, the
// times the longest of any rank.
absl::StatusOr<StepResult> AgreeResults(std::span<const StepResult> results);

}  // namespace sparkspan::engine::runtime
