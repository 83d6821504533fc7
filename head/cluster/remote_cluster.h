#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/silence_detector.h"
#include "engine/fabric/address.h"
#include "engine/runtime/cluster.h"
#include "head/api/generation.h"
#include "head/cluster/failure_detector.h"
#include "head/cluster/interface_meter.h"
#include "head/cluster/worker_links.h"

namespace sparkspan::head::cluster {

struct WorkerEndpoint {
  engine::Rank rank;
  std::string node;  // its name in cluster.yaml
  engine::fabric::Endpoint control;
};

struct RemoteClusterOptions {
  std::vector<WorkerEndpoint> workers;  // in rank order, every rank once
  std::string program_version;
  std::uint64_t config_hash = 0;
  std::uint64_t checkpoint_hash = 0;  // of the head's own copy; 0: not compared
  engine::Duration heartbeat_interval = std::chrono::milliseconds(200);
  engine::Duration silence_limit = std::chrono::seconds(1);  // of a rank: then it is lost
  // What the configuration fixes; epoch, blocks and memory come from the workers.
  engine::runtime::ClusterShape shape;
};

// The workers of the cluster, each in a process of its own. Submit, Collect, Watch and Reform
// belong to one thread (the engine loop's); the rest is thread-safe. That thread also gives the
// head's signs of life, so that a head whose planning hangs is as dead to its workers as one that
// has crashed.
class RemoteCluster final : public engine::runtime::Cluster {
 public:
  // Opens no stream yet.
  RemoteCluster(RemoteClusterOptions options, std::unique_ptr<WorkerLinks> links);
  ~RemoteCluster() override;

  // Known once Reform has succeeded.
  engine::runtime::ClusterShape Shape() const override;
  absl::Status Submit(const engine::runtime::StepPlan& plan) override;
  // Unavailable: a rank is lost, or failed; the message names it. DeadlineExceeded: with the
  // position of every rank.
  absl::StatusOr<engine::runtime::StepResult> Collect(engine::Time deadline) override;
  absl::Status Watch() override;
  // Waits for workers that are not up yet. FailedPrecondition: a worker refused, or the workers do
  // not fit together; trying again unchanged is useless. Cancelled after Stop.
  absl::Status Reform(engine::Epoch next, engine::Time deadline) override;
  engine::Epoch NewestEpoch() const override { return newest_epoch_; }

  // Makes Reform and Collect return soon, from now on.
  void Stop() { stopping_ = true; }
  // Tells the workers that the head ends the epoch. After the last Collect.
  void Goodbye();

  std::vector<api::RankStatus> Ranks() const;
  // Of all ranks' start-up, the slowest rank's time for each phase.
  std::vector<api::StartUpPhase> LoadingPhases() const;

 private:
  struct Worker {
    engine::Time retry_at;  // when no stream is open
    std::optional<WorkerIdentity> identity;
    std::optional<WorkerLoaded> loaded;
    bool must_form = false;  // was asked to
    bool formed = false;
    std::deque<engine::runtime::StepResult> results;  // of plans in flight, oldest first
    std::string lost_why;                             // from its loss until it is reached again
  };

  std::size_t Count() const { return options_.workers.size(); }
  Worker& At(engine::Rank rank) { return workers_[static_cast<std::size_t>(rank.value())]; }
  const Worker& At(engine::Rank rank) const {
    return workers_[static_cast<std::size_t>(rank.value())];
  }
  std::string NameOf(engine::Rank rank) const;
  std::vector<std::string> Names() const;
  void SetState(engine::Rank rank, std::string state, std::string detail);
  // Gives the head's sign of life on every stream when it is due.
  void Beat();
  // The next event until `deadline`, at most a slice of time away, so that Beat comes in time.
  std::optional<LinkEvent> NextEvent(engine::Time deadline);

  void OpenMissingLinks(engine::Epoch epoch);
  // Takes what a worker said while the group is being formed.
  absl::Status TakeFormingEvent(const LinkEvent& event);
  absl::Status TakeForming(engine::Rank rank, const WorkerIdentity& identity);
  absl::Status TakeForming(engine::Rank rank, const WorkerLoading& loading);
  absl::Status TakeForming(engine::Rank rank, const WorkerLoaded& loaded);
  absl::Status TakeForming(engine::Rank rank, const WorkerGroupFormed& formed);
  absl::Status TakeForming(engine::Rank rank, const engine::runtime::StepResult& result);
  absl::Status TakeForming(engine::Rank /*rank*/, const WorkerPulse&) { return absl::OkStatus(); }
  absl::Status TakeForming(engine::Rank rank, const WorkerFabric& fabric);
  absl::Status TakeForming(engine::Rank rank, const LinkEnd& end);
  // A message that its stream's state has no place for: what follows cannot be believed.
  absl::Status OutOfPlace(engine::Rank rank, const char* what) const;
  absl::Status EndSilentOnes();
  // Until `done` holds for every worker.
  absl::Status Form(engine::Epoch epoch, bool (*done)(const Worker&), engine::Time deadline);
  // Says of each worker that could not be reached so far why.
  void DescribeUnreached();
  // Of the workers for which `done` does not hold: state and detail of each.
  std::string Unfinished(bool (*done)(const Worker&)) const;
  absl::Status CheckAgreement() const;

  void TakeFabric(engine::Rank rank, const WorkerFabric& fabric);
  // Why a stream broke, as far as this side of it knows better than gRPC.
  absl::Status ReasonOf(engine::Rank rank, const absl::Status& why) const;

  // Takes what a worker said while the group serves.
  absl::Status TakeServingEvent(LinkEvent event);
  // OK while the epoch lives; else its end.
  absl::Status JudgeRanks();
  void MarkSlowOnes(engine::Time now);
  std::string RanksWithoutResult() const;
  // Ends the epoch with the error.
  absl::Status EndEpoch(absl::Status why);

  const RemoteClusterOptions options_;
  const std::unique_ptr<WorkerLinks> links_;
  std::vector<Worker> workers_;  // by rank
  engine::Epoch epoch_;
  engine::Epoch newest_epoch_;  // that a rank said to have served
  std::deque<engine::Step> in_flight_;
  absl::Status ended_;               // why there is no epoch
  engine::Time beat_at_;             // when the next sign of life is due
  engine::SilenceDetector forming_;  // of the workers that said who they are, before they serve
  std::atomic<bool> stopping_{false};

  mutable std::mutex mutex_;  // of what follows
  FailureDetector detector_;  // changed by the engine loop's thread alone
  std::vector<api::RankStatus> ranks_;
  std::vector<InterfaceMeter> meters_;  // [ranks]
  std::vector<api::StartUpPhase> phases_;
  engine::runtime::ClusterShape shape_;
};

}  // namespace sparkspan::head::cluster
