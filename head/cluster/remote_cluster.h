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
#include "engine/runtime/cluster.h"
#include "head/api/generation.h"
#include "head/cluster/pinned_relay.h"
#include "head/cluster/worker_link.h"

namespace sparkspan::head::cluster {

struct WorkerEndpoint {
  engine::Rank rank;
  std::string node;  // its name in cluster.yaml
  engine::fabric::Endpoint control;
};

struct RemoteClusterOptions {
  std::vector<WorkerEndpoint> workers;  // in rank order, every rank once
  engine::fabric::DeclaredPin control;  // the head's own interface, by which its streams leave
  std::string program_version;
  std::uint64_t config_hash = 0;
  engine::Duration connect_timeout = std::chrono::seconds(2);
  // What the configuration fixes; epoch, blocks and memory come from the workers.
  engine::runtime::ClusterShape shape;
};

// The workers of the cluster, each in a process of its own. Submit, Collect, Watch and Reform
// belong to one thread (the engine loop's); the rest is thread-safe.
class RemoteCluster final : public engine::runtime::Cluster {
 public:
  // Starts a relay per worker; connects to none yet.
  static absl::StatusOr<std::unique_ptr<RemoteCluster>> Create(RemoteClusterOptions options);
  ~RemoteCluster() override;

  // Known once Reform has succeeded.
  engine::runtime::ClusterShape Shape() const override;
  absl::Status Submit(const engine::runtime::StepPlan& plan) override;
  // Unavailable: a rank's stream has ended; the message names it.
  absl::StatusOr<engine::runtime::StepResult> Collect(engine::Time deadline) override;
  absl::Status Watch() override;
  // Waits for workers that are not up yet. FailedPrecondition: a worker refused, or the workers do
  // not fit together; trying again unchanged is useless. Cancelled after Stop.
  absl::Status Reform(engine::Epoch next, engine::Time deadline) override;

  // Makes Reform and Collect return soon, from now on.
  void Stop() { stopping_ = true; }
  // Tells the workers that the head ends the epoch. After the last Collect.
  void Goodbye();

  std::vector<api::RankStatus> Ranks() const;
  // Of all ranks' start-up, the slowest rank's time for each phase.
  std::vector<api::StartUpPhase> LoadingPhases() const;

 private:
  struct Worker {
    std::unique_ptr<PinnedRelay> relay;
    std::unique_ptr<WorkerLink> link;
    engine::Time retry_at;  // when the link is null
    std::optional<WorkerIdentity> identity;
    std::optional<WorkerLoaded> loaded;
    bool formed = false;
    std::deque<engine::runtime::StepResult> results;  // of plans in flight, oldest first
  };

  explicit RemoteCluster(RemoteClusterOptions options);
  std::size_t Count() const { return options_.workers.size(); }
  std::string NameOf(engine::Rank rank) const;
  void SetState(engine::Rank rank, std::string state, std::string detail);
  void OpenMissingLinks(engine::Epoch epoch);
  // Takes what a worker said while the group is being formed.
  absl::Status TakeFormingEvent(LinkEvent event);
  absl::Status TakeForming(engine::Rank rank, const WorkerIdentity& identity);
  absl::Status TakeForming(engine::Rank rank, const WorkerLoading& loading);
  absl::Status TakeForming(engine::Rank rank, const WorkerLoaded& loaded);
  absl::Status TakeForming(engine::Rank rank, const WorkerGroupFormed& formed);
  absl::Status TakeForming(engine::Rank rank, const engine::runtime::StepResult& result);
  absl::Status TakeForming(engine::Rank rank, const LinkEnd& end);
  // Until `done` holds for every worker.
  absl::Status Form(engine::Epoch epoch, bool (*done)(const Worker&), engine::Time deadline);
  // Says of each worker that could not be reached so far why.
  void DescribeUnreached();
  absl::Status CheckAgreement() const;
  absl::Status LostStatus(engine::Rank rank, const LinkEnd& end);
  // Takes what a worker said while the group serves.
  absl::Status TakeServingEvent(LinkEvent event);
  std::string RanksWithoutResult() const;
  // Ends the epoch with the error.
  absl::Status EndEpoch(absl::Status why);

  const RemoteClusterOptions options_;
  std::vector<Worker> workers_;  // by rank
  std::shared_ptr<LinkEvents> events_;
  engine::Epoch epoch_;
  std::deque<engine::Step> in_flight_;
  absl::Status ended_;  // why there is no epoch
  std::atomic<bool> stopping_{false};

  mutable std::mutex mutex_;  // of what follows
  std::vector<api::RankStatus> ranks_;
  std::vector<api::StartUpPhase> phases_;
  engine::runtime::ClusterShape shape_;
};

}  // namespace sparkspan::head::cluster
