#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/thread.h"
#include "engine/collective/tcp_communicator.h"
#include "engine/config/cluster_config.h"
#include "engine/fabric/pin_monitor.h"
#include "engine/model/memory_plan.h"
#include "engine/runtime/epoch_communicator.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/rank_position.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/rank_weights.h"
#include "kernels/numerics/profile.h"
#include "worker/memory_guard.h"

namespace sparkspan::worker {

// What a head compares over the ranks.
struct RankIdentity {
  engine::Rank rank;
  std::uint64_t config_hash = 0;
  std::uint64_t checkpoint_hash = 0;
  std::uint64_t numerics_hash = 0;
  std::string architecture;
  std::string simd_target;
  std::string device;
  std::string nccl_version;  // empty: exchanges go over TCP
};

struct LoadPhase {
  std::string name;
  double seconds = 0;
};

struct LoadProgress {
  bool loaded = false;
  // Not OK: it does not load without a change. A refusal for want of memory (ResourceExhausted) is
  // taken back when there is enough.
  absl::Status failure;
  std::string phase;
  double seconds = 0;             // since the worker started
  std::vector<LoadPhase> phases;  // the finished ones
  std::int64_t weights_bytes = 0;
  std::int64_t kv_bytes = 0;
  std::int64_t resident_bytes = 0;
  std::int32_t kv_blocks = 0;
};

// A data connection of this rank.
struct PeerPath {
  engine::Rank rank;
  std::string local_address;
  std::string interface;
  std::string binding;
};

// What this rank's declared interfaces and its data connections have carried.
struct FabricReport {
  std::vector<engine::fabric::PinSample> interfaces;
  std::vector<engine::collective::PeerTraffic> peers;  // of the present epoch's group
};

// A rank from the start of its process: loads its share once, then lives through epochs, its
// weights staying where they are. Identity and progress are thread-safe; the calls of an epoch
// belong to one thread at a time, come after loading, and Abort may interrupt them.
class Lifecycle {
 public:
  // Finds the declared interfaces, reads the checkpoint's headers, and starts loading on a thread.
  // Errors name what in cluster.yaml or in the checkpoint must change; an interface that only lacks
  // its link or its address is waited for, when an epoch begins at the latest.
  static absl::StatusOr<std::unique_ptr<Lifecycle>> Start(engine::config::ClusterConfig config,
                                                          engine::Rank rank);
  // Also while it loads: soon.
  ~Lifecycle();
  Lifecycle(const Lifecycle&) = delete;
  Lifecycle& operator=(const Lifecycle&) = delete;

  const RankIdentity& identity() const { return identity_; }
  // Returns when the weights are resident or it is known why not, or at `deadline`.
  LoadProgress WaitForLoading(engine::Time deadline) const;
  // Whether the weights are resident, by `deadline` at the latest.
  bool WaitUntilLoaded(engine::Time deadline) const;

  // Forms the group of an epoch with the other ranks, which are doing the same. `over` says that
  // the epoch has ended already; whoever sets it calls Abort afterwards, so that no moment is
  // missed.
  absl::StatusOr<std::vector<PeerPath>> BeginEpoch(engine::Epoch epoch,
                                                   const std::string& session_key,
                                                   const std::atomic<bool>& over);
  absl::StatusOr<engine::runtime::StepResult> Run(const engine::runtime::StepPlan& plan);
  void EndEpoch() { SetGroup(nullptr); }

  // Makes a call of the epoch in progress return `why`, and peers notice. Thread-safe.
  void Abort(absl::Status why) { communicator_.Abort(std::move(why)); }

  // How far the present epoch has come on this rank. Thread-safe.
  engine::runtime::RankPosition position() const { return communicator_.position(); }

  // The declared interfaces, of which one that ceases to be as declared aborts the epoch in
  // progress. Thread-safe.
  const engine::fabric::PinMonitor& interfaces() const { return *interfaces_; }
  FabricReport Fabric() const;

  // What the machine has left: an exhaustion aborts the epoch in progress, and the process has to
  // end. Thread-safe.
  MemoryReport memory() const { return memory_->report(); }

 private:
  struct LoadPlan;

  Lifecycle(engine::config::ClusterConfig config,
            engine::Rank rank,
            std::shared_ptr<const engine::weights::Checkpoint> checkpoint,
            std::uint64_t checkpoint_hash);

  // Listens for peers, unless it does already on the interface that there is now: the kernel binds
  // a socket to one life of an interface, which a cable that was pulled may have ended.
  absl::Status ListenForPeers();
  // A lost link ends the epoch at once: nothing waits for a packet that cannot come, and nothing is
  // sent by another way.
  absl::Status WatchInterfaces();
  void WatchMemory();
  // Makes `group` the one of the present epoch; null: there is none.
  void SetGroup(std::shared_ptr<engine::collective::TcpCommunicator> group);
  // The communicator that the model uses; null for a single rank.
  engine::collective::Communicator* GroupCommunicator();
  void EnterPhase(const std::string& name);
  // What WaitForLoading tells from now on.
  void Publish(const absl::Status& failure, bool is_loaded);
  void RunLoader();
  absl::Status Load();
  // What to load, and that there is memory for it, found out anew until there is.
  absl::StatusOr<LoadPlan> PlanOnceThereIsMemory();
  absl::StatusOr<LoadPlan> Plan(bool is_again) const;
  // What the limits ask for; without a size of the KV cache, what memory leaves to this rank.
  absl::StatusOr<engine::model::MemoryDemand> FindDemand(
      const engine::weights::RankShare& share,
      const engine::model::ModelOptions& model,
      const engine::weights::LoadOptions& load) const;
  absl::StatusOr<engine::collective::TcpOptions> GroupOptions(engine::Epoch epoch,
                                                              const std::string& session_key) const;

  const engine::config::ClusterConfig config_;
  const engine::config::NodeConfig& node_;
  const engine::config::RankConfig& rank_config_;
  const kernels::numerics::NumericsProfile profile_;
  const std::shared_ptr<const engine::weights::Checkpoint> checkpoint_;
  const engine::SteadyClock clock_;
  RankIdentity identity_;
  engine::runtime::EpochCommunicator communicator_;
  std::unique_ptr<engine::runtime::Executor> executor_;  // set before progress says loaded
  // Of the thread that begins epochs.
  std::optional<engine::collective::TcpListener> listener_;
  int listener_interface_ = 0;  // the index of its interface

  const engine::Time started_;
  mutable std::mutex mutex_;                     // of what follows
  mutable std::condition_variable_any changed_;  // waits end with a stop_token too
  LoadProgress progress_;
  engine::Time phase_began_;
  std::shared_ptr<const engine::collective::TcpCommunicator> group_;

  std::stop_source stop_loading_;
  std::unique_ptr<engine::fabric::PinMonitor> interfaces_;  // its thread uses the above
  std::unique_ptr<MemoryGuard> memory_;                     // and so does this one's
  engine::Thread loader_;                                   // last: it uses all of the above
};

}  // namespace sparkspan::worker
