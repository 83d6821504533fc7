#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/collective/communicator.h"
#include "engine/model/model.h"
#include "engine/runtime/cluster.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/plan.h"
#include "engine/runtime/rank_model.h"

namespace sparkspan::engine::runtime {

struct EmbeddedClusterOptions {
  std::int32_t ranks = 1;
  ExecutorOptions executor;
  Epoch epoch{1};  // the first

  // One epoch's communicators, [ranks] in rank order; called once per epoch on the caller's thread.
  // Empty: exchanges through memory. Not used for a single rank.
  std::function<absl::StatusOr<std::vector<std::unique_ptr<collective::Communicator>>>()> connect;

  // One rank's model and drafter, called on the rank's thread, ranks at the same time. The
  // communicator is borrowed for the model's life; null for a single rank.
  std::function<absl::StatusOr<RankModel>(Rank, collective::Communicator*)> load;
};

// All ranks as threads of this process: for tests, tools, and a head without workers.
class EmbeddedCluster final : public Cluster {
 public:
  // Loads the models and begins the first epoch. Unavailable: a rank was not ready in time (it is
  // waited for nevertheless: a thread cannot be abandoned).
  static absl::StatusOr<std::unique_ptr<EmbeddedCluster>> Create(EmbeddedClusterOptions options,
                                                                 Time deadline);
  ~EmbeddedCluster() override;

  ClusterShape Shape() const override;
  absl::Status Submit(const StepPlan& plan) override;
  absl::StatusOr<StepResult> Collect(Time deadline) override;
  absl::Status Watch() override { return ended_; }
  absl::Status Reform(Epoch next, Time deadline) override;

  // A rank's executor, for tools and fault injection. Only while no plan is in flight.
  Executor& executor(Rank rank);

 private:
  class RankThread;

  explicit EmbeddedCluster(EmbeddedClusterOptions options);

  absl::Status BeginEpochOnRanks(Epoch epoch, Time deadline);
  // Ends the epoch on every rank, remembers why, and returns it.
  absl::Status Fail(absl::Status why);

  EmbeddedClusterOptions options_;
  std::vector<std::unique_ptr<RankThread>> ranks_;
  // Of the oldest plan in flight: what ranks 0 to collected_.size() - 1 have reported.
  std::vector<StepResult> collected_;
  std::int32_t plans_in_flight_ = 0;
  Epoch epoch_;
  absl::Status ended_;  // why the epoch is over; OK inside one
};

}  // namespace sparkspan::engine::runtime
