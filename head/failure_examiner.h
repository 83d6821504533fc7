#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "engine/doctor/finding.h"
#include "head/api/generation.h"

namespace sparkspan::head {

// A node, and how to have it looked at: engine/doctor's ExamineAfterFailure for the head's own, its
// worker's Examine call for another, or what a test puts in its place. Bounded in time.
struct ExaminedNode {
  std::string name;  // in cluster.yaml
  std::function<absl::StatusOr<engine::doctor::Report>()> examine;
};

// Has the machines looked at when an epoch was lost, on a thread of its own: what is found belongs
// to the report of the failure. A node that cannot be asked yet, since its link or its worker is
// gone, is asked again until it is back or kReturnTimeout has passed. One examination at a time;
// losses during one are served by the next, which ends the waiting of the one before.
class FailureExaminer {
 public:
  static constexpr engine::Duration kReturnTimeout = std::chrono::minutes(2);

  // In the order in which they are asked: the head's own first. `retry_interval` is between two
  // attempts to ask the nodes that could not be.
  FailureExaminer(std::vector<ExaminedNode> nodes, engine::Duration retry_interval);
  ~FailureExaminer();
  FailureExaminer(const FailureExaminer&) = delete;
  FailureExaminer& operator=(const FailureExaminer&) = delete;

  // `epoch` was lost. Does not wait. Thread-safe.
  void Begin(std::uint64_t epoch);

  // Adds what is known of a failure so far. Thread-safe.
  void Describe(api::FailureStatus* failure) const;

 private:
  struct Examination {
    std::string text;      // what came of it, in words; empty: nothing yet
    bool is_over = false;  // it need not be tried again
    std::vector<api::FindingStatus> findings;
  };

  void Run();
  void ExamineAll(std::uint64_t epoch);
  static Examination Examine(const ExaminedNode& node);
  // False when something else is wanted first.
  bool Pause();

  const std::vector<ExaminedNode> nodes_;
  const engine::Duration retry_interval_;

  mutable std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::optional<std::uint64_t> wanted_;    // lost, and not looked at yet
  std::uint64_t examined_ = 0;             // the epoch that the rest is about
  std::vector<Examination> examinations_;  // [nodes]
  bool stopping_ = false;

  engine::Thread thread_;  // last: it uses all of the above
};

}  // namespace sparkspan::head
