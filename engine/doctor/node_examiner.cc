#include "engine/doctor/node_examiner.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/doctor/examination.h"

namespace sparkspan::engine::doctor {
namespace {

const config::NodeConfig* FindNode(const config::ClusterConfig& config, const std::string& name) {
  const auto found = std::find_if(config.nodes.begin(), config.nodes.end(), [&](const auto& node) {
    return node.name == name;
  });
  return found == config.nodes.end() ? nullptr : &*found;
}

const config::NodeConfig& NodeIn(const config::ClusterConfig& config, const std::string& name) {
  const config::NodeConfig* node = FindNode(config, name);
  CHECK(node != nullptr) << "no node " << name;
  return *node;
}

Machine WithoutDisk(Machine machine) {
  DiskFacts disk;
  disk.why_not = "it is not measured while the node's daemons use it";
  machine.disk = std::move(disk);
  return machine;
}

}  // namespace

NodeExaminer::NodeExaminer(config::ClusterConfig config,
                           std::string node,
                           Machine machine,
                           std::string program_version)
    : config_(std::move(config)),
      node_(NodeIn(config_, node)),
      machine_(WithoutDisk(std::move(machine))),
      program_version_(std::move(program_version)),
      thread_("examiner", [this] { EndInTime(); }) {}

NodeExaminer::~NodeExaminer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.Join();
}

absl::StatusOr<NodeFacts> NodeExaminer::Collect() const {
  return CollectFacts(machine_, config_, node_);
}

absl::StatusOr<Report> NodeExaminer::ExamineAll() const {
  ASSIGN_OR_RETURN(const NodeFacts facts, Collect());
  return Examine({config_, node_, facts});
}

absl::StatusOr<Report> NodeExaminer::ExamineFabric() const {
  ASSIGN_OR_RETURN(const NodeFacts facts, CollectFabricFacts(machine_, config_, node_));
  return ExamineAfterFailure({config_, node_, facts});
}

absl::StatusOr<PeerFacts> NodeExaminer::Facts() const {
  ASSIGN_OR_RETURN(const NodeFacts facts, Collect());
  return MakePeerFacts(config_, node_, facts, program_version_, /*unix_milliseconds=*/0);
}

absl::Status NodeExaminer::AnswerProbes(const ProbeTarget& target) {
  if (target.token.empty()) {
    return absl::InvalidArgumentError("probes are answered to those who bring a token only");
  }
  const std::lock_guard lock(mutex_);
  server_.reset();  // It may have the port.
  ASSIGN_OR_RETURN(
      server_,
      ProbeServer::Start(config_, node_, {target.port, target.token, [this] { return Facts(); }}));
  answer_until_ = std::chrono::steady_clock::now() + kAnswerTime;
  changed_.notify_all();
  return absl::OkStatus();
}

absl::StatusOr<Report> NodeExaminer::ProbePeer(const std::string& peer,
                                               const ProbeTarget& target) const {
  const config::NodeConfig* other = FindNode(config_, peer);
  if (other == nullptr || other == &node_) {
    return absl::NotFoundError(absl::StrFormat("cluster.yaml has no other node '%s'", peer));
  }
  ASSIGN_OR_RETURN(const PeerFacts own, Facts());
  Report report;
  ProbeNode(node_, *other, target, own, &report);
  return report;
}

void NodeExaminer::EndInTime() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (server_ == nullptr) {
      changed_.wait(lock);
    } else if (std::chrono::steady_clock::now() >= answer_until_) {
      server_.reset();
    } else {
      changed_.wait_until(lock, answer_until_);
    }
  }
}

}  // namespace sparkspan::engine::doctor
