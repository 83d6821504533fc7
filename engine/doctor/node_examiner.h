#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "engine/config/cluster_config.h"
#include "engine/doctor/facts.h"
#include "engine/doctor/finding.h"
#include "engine/doctor/machine.h"
#include "engine/doctor/probe_client.h"
#include "engine/doctor/probe_server.h"

namespace sparkspan::engine::doctor {

// What a daemon can do for another node's doctor: looks at its own machine, answers probes for a
// while, and probes a third node. Thread-safe; every call has a bound in time.
class NodeExaminer {
 public:
  // Probes are answered for so long after they were last asked for.
  static constexpr Duration kAnswerTime = std::chrono::minutes(2);

  // `node` is the machine's name in `config`.
  NodeExaminer(config::ClusterConfig config,
               std::string node,
               Machine machine,
               std::string program_version);
  ~NodeExaminer();
  NodeExaminer(const NodeExaminer&) = delete;
  NodeExaminer& operator=(const NodeExaminer&) = delete;

  // All checks of one node but the disk's speed, which would be measured while it is in use.
  absl::StatusOr<Report> ExamineAll() const;
  // What may have broken while the cluster served (ExamineAfterFailure).
  absl::StatusOr<Report> ExamineFabric() const;

  // Answers probes that bring `token`, on `target.port` of this node's declared addresses, in place
  // of earlier ones.
  absl::Status AnswerProbes(const ProbeTarget& target);

  // Probes another node that answers. NotFound: cluster.yaml has no other node of that name.
  absl::StatusOr<Report> ProbePeer(const std::string& peer, const ProbeTarget& target) const;

  absl::StatusOr<PeerFacts> Facts() const;

 private:
  absl::StatusOr<NodeFacts> Collect() const;
  void EndInTime();

  const config::ClusterConfig config_;
  const config::NodeConfig& node_;
  const Machine machine_;
  const std::string program_version_;

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::unique_ptr<ProbeServer> server_;
  Time answer_until_;
  bool stopping_ = false;
  Thread thread_;  // last: it uses all of the above
};

}  // namespace sparkspan::engine::doctor
