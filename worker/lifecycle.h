#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/thread.h"
#include "engine/config/cluster_config.h"
#include "engine/runtime/executor.h"

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
};

struct LoadPhase {
  std::string name;
  double seconds = 0;
};

struct LoadProgress {
  bool loaded = false;
  absl::Status failure;  // not OK: it will not load without a change
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
};

// A rank from the start of its process: loads its share once, then lives through epochs, its
// weights staying where they are. Loading and progress are thread-safe; the calls of an epoch
// belong to one thread, Abort excepted.
class Lifecycle {
 public:
  // Verifies the declared interfaces, listens for peers, and starts loading on a thread.
  static absl::StatusOr<std::unique_ptr<Lifecycle>> Start(engine::config::ClusterConfig config,
                                                          engine::Rank rank);
  ~Lifecycle();
  Lifecycle(const Lifecycle&) = delete;
  Lifecycle& operator=(const Lifecycle&) = delete;

  const RankIdentity& identity() const;
  LoadProgress progress() const;
  // Returns when loading has ended either way, or at `deadline`.
  LoadProgress WaitForLoading(engine::Time deadline) const;

  // Forms the group of an epoch with the other ranks, which are doing the same.
  absl::StatusOr<std::vector<PeerPath>> BeginEpoch(engine::Epoch epoch,
                                                   const std::string& session_key);
  absl::StatusOr<engine::runtime::StepResult> Run(const engine::runtime::StepPlan& plan);
  void EndEpoch();

  // Makes a call of the epoch in progress return `why`, and peers notice. Thread-safe.
  void Abort(absl::Status why);

 private:
  class Implementation;
  explicit Lifecycle(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace sparkspan::worker
