#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/log_throttle.h"
#include "engine/base/thread.h"
#include "engine/runtime/cluster.h"
#include "engine/schedule/scheduler.h"
#include "head/api/generation.h"
#include "head/cluster/error_log.h"

namespace sparkspan::head::cluster {

struct EngineLoopOptions {
  // kv_blocks and draft_tokens_max come from the cluster.
  engine::schedule::SchedulerOptions scheduler;
  engine::Duration step_timeout = std::chrono::seconds(60);
  engine::Duration form_timeout = std::chrono::minutes(10);
  engine::Duration queue_timeout = std::chrono::minutes(10);  // for a place among the running
  engine::Duration reform_pause = std::chrono::milliseconds(200);
  engine::Duration refusal_pause = std::chrono::seconds(2);  // what refuses needs a person
  engine::Epoch first_epoch;  // larger than any of an earlier head, if clocks are right
  std::string numerics;
  std::string draft_mode;
  // Adds what only the cluster knows: ranks, phases of loading; may judge the state by it, which
  // Readiness() then follows within 200 ms. Thread-safe. May be empty.
  std::function<void(api::EngineStatus*)> describe_cluster;
  // An epoch that served was lost. By the loop's thread: it must not wait. May be empty.
  std::function<void(engine::Epoch epoch)> on_epoch_lost;
};

// Serves generation requests over a cluster: the one thread that owns scheduler and sequences,
// makes every plan and hands tokens to their streams. An error of the cluster ends the epoch:
// requests in flight and queued ones end with it, and a new group is formed. A worker that refuses
// ends a head that has never served, which says why; later it is asked again, as one that was
// restarted on another release or file is put right without the head.
class EngineLoop final : public api::Generator {
 public:
  // Who calls TakeTurn: the loop's own thread, or its owner, as a simulation in virtual time does.
  enum class Driver { kOwnThread, kOwner };

  // `cluster` and `clock` are borrowed.
  EngineLoop(EngineLoopOptions options,
             engine::runtime::Cluster& cluster,
             const engine::Clock& clock,
             Driver driver = Driver::kOwnThread);
  ~EngineLoop() override;

  absl::StatusOr<std::shared_ptr<api::GenerationStream>> Submit(
      api::GenerationRequest request) override;
  api::EngineReadiness Readiness() const override;
  api::EngineStatus Status() const override;
  // There is no prefix cache yet.
  void FlushPrefixCache() override {}

  // Ends the thread after the step in flight; what still runs ends with an error. Idempotent.
  void Stop();
  // Why the loop has given up, once its state is kFailed.
  absl::Status failure() const;

  // What a turn found, hence what may pass before the next one.
  enum class Turn {
    kBusy,     // nothing: go on
    kIdle,     // kIdleTick, or a request
    kNoGroup,  // options.reform_pause
    kRefused,  // options.refusal_pause
    kEnded,    // there are no more turns
  };
  // Forms a group, or runs one step, or looks after the ranks while there is nothing to run. Waits
  // in the cluster's calls alone.
  Turn TakeTurn();

  // How long a client that leaves, or a rank that dies, can go unnoticed while nothing runs.
  static constexpr std::chrono::milliseconds kIdleTick{50};

 private:
  struct Running {
    std::shared_ptr<api::GenerationStream> stream;
    engine::Time admitted;
  };
  // Tokens that one step gave, to tell a rate over the last seconds.
  struct RatePoint {
    engine::Time time;
    std::int64_t tokens;
  };

  void Run();
  Turn TryFormGroup();
  // Takes the group that was formed into service; false when nothing could ever run on it.
  bool BeginServing();
  // Once, where drafts are verified by what steps cost: uses up the epoch that was just formed.
  absl::Status MeasureCosts(const engine::runtime::ClusterShape& shape);
  // With mutex_ held.
  absl::Status BeginEpoch(const engine::runtime::ClusterShape& shape);
  // With mutex_ held: whether the KV pool has room for a request of the configured length.
  void CompareContext();
  Turn Serve();
  // Says why there is no group yet, and what may pass before the next attempt.
  Turn Postpone(const absl::Status& why);
  void EndEpoch(const absl::Status& why);
  void RecordLoss();
  // What the next step does; empty when there is nothing to do.
  std::optional<engine::runtime::StepPlan> NextPlan();
  void CloseCancelled();
  // Ends those that have waited for too long.
  void CloseOverdue(engine::Time now);
  absl::Status RunStep(const engine::runtime::StepPlan& plan);
  void Deliver(engine::schedule::TokenEvent event, engine::Time now);
  // Ends every request, queued ones too.
  void FailEverything(const absl::Status& why);
  void SetState(api::EngineState state, std::string detail);
  // With mutex_ held.
  void FillReadiness(api::EngineReadiness* readiness) const;
  // Says in the log when the drafter begins to look broken, and when it no longer does.
  void WatchDrafter();
  void CountStep(const engine::runtime::StepPlan& plan, engine::Time now, std::int64_t tokens);
  std::int32_t RetryAfterSeconds() const;

  const EngineLoopOptions options_;
  engine::runtime::Cluster& cluster_;
  const engine::Clock& clock_;
  // Of the thread that takes turns alone.
  engine::Epoch epoch_;
  bool serving_ = false;
  std::string why_not_ = "the ranks are connecting";
  std::optional<engine::schedule::StepCosts> costs_;
  bool drafter_is_suspect_ = false;
  engine::LogThrottle postponed_;

  mutable std::mutex mutex_;  // of what follows; never held while a step runs
  std::condition_variable work_;
  std::optional<engine::schedule::Scheduler> scheduler_;  // from the first group on
  std::unordered_map<engine::SequenceId, Running> streams_;
  std::deque<RatePoint> rate_;
  double request_seconds_ = 0;  // a running mean of how long finished requests took
  api::EngineStatus status_;    // what the scheduler does not know
  ErrorLog errors_;
  absl::Status failure_;

  // What describe_cluster last made of an engine's state, for Readiness().
  struct Judged {
    api::EngineState engine_state;
    std::string engine_detail;
    api::EngineState state;
    std::string detail;
    engine::Time at;
  };
  mutable std::mutex judged_mutex_;
  mutable std::optional<Judged> judged_;

  std::atomic<bool> stopping_{false};
  engine::Thread thread_;  // last: it uses all of the above
};

}  // namespace sparkspan::head::cluster
