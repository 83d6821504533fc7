#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/thread.h"
#include "engine/doctor/finding.h"
#include "head/api/generation.h"

namespace sparkspan::head {

// Looks at the head's own machine when an epoch was lost, on a thread of its own: what it finds
// belongs to the report of the failure. One examination at a time; losses during one are served by
// the next.
class FailureExaminer {
 public:
  // engine/doctor's ExamineAfterFailure, or what a test puts in its place. Bounded in time.
  using Examine = std::function<absl::StatusOr<engine::doctor::Report>()>;

  // `node` is the machine's name in cluster.yaml.
  FailureExaminer(std::string node, Examine examine);
  ~FailureExaminer();
  FailureExaminer(const FailureExaminer&) = delete;
  FailureExaminer& operator=(const FailureExaminer&) = delete;

  // `epoch` was lost. Does not wait. Thread-safe.
  void Begin(std::uint64_t epoch);

  // Adds what is known of a failure so far. Thread-safe.
  void Describe(api::FailureStatus* failure) const;

 private:
  void Run();

  const std::string node_;
  const Examine examine_;

  mutable std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::optional<std::uint64_t> wanted_;  // lost, and not looked at yet
  std::uint64_t examined_ = 0;           // the epoch that the rest is about
  std::string examination_;
  std::vector<api::FindingStatus> findings_;
  bool stopping_ = false;

  engine::Thread thread_;  // last: it uses all of the above
};

}  // namespace sparkspan::head
