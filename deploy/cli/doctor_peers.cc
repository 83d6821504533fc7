#include "deploy/cli/doctor_peers.h"

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/config/own_credentials.h"
#include "engine/doctor/probe_client.h"
#include "engine/identity/role.h"
#include "head/cluster/session_key.h"
#include "head/cluster/worker_examiner.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::config::ClusterConfig;
using engine::config::NodeConfig;
using engine::doctor::Finding;
using engine::doctor::Outcome;
using engine::doctor::ProbeTarget;
using engine::doctor::Report;
using head::cluster::ExaminerOptions;
using head::cluster::WorkerExaminer;

constexpr std::chrono::seconds kExamineTimeout{30};
constexpr std::chrono::minutes kProbeTimeout{2};

// A node whose worker answers.
struct AnsweringNode {
  const NodeConfig* node;
  WorkerExaminer worker;
  ProbeTarget target;
};

absl::StatusOr<WorkerExaminer> WorkerOf(const ClusterConfig& config,
                                        const NodeConfig& head,
                                        const NodeConfig& peer) {
  using engine::identity::Role;
  ExaminerOptions options;
  ASSIGN_OR_RETURN(options.tls, OwnCredentials(config, Role::kHead, head.name));
  options.control = head.control;
  options.program_version = SPARKSPAN_VERSION;
  options.config_hash = Hash(config);
  options.worker = {peer.control.address, peer.ranks[0].control_port};
  options.worker_name = RoleName(Role::kWorker, peer.name, config.cluster);
  return WorkerExaminer(std::move(options));
}

// What another node complains of, as its own.
void AddComplaints(const std::string& node, const Report& found, Report* report) {
  for (Finding finding : found.findings()) {
    if (finding.outcome == Outcome::kFailure || finding.outcome == Outcome::kWarning) {
      finding.subject = "node " + node + ": " + finding.subject;
      report->Add(std::move(finding));
    }
  }
}

// Has the peer's worker look at its machine, and answer probes.
absl::Status AskWorker(AnsweringNode& peer, Report* report) {
  ASSIGN_OR_RETURN(const Report found,
                   peer.worker.ExamineNode(/*after_failure=*/false, kExamineTimeout));
  RETURN_IF_ERROR(peer.worker.AnswerProbes(peer.target, kExamineTimeout));
  report->Pass("peer.daemon",
               "node " + peer.node->name,
               absl::StrFormat("its worker answers: %d failures, %d warnings there",
                               found.Count(Outcome::kFailure),
                               found.Count(Outcome::kWarning)));
  AddComplaints(peer.node->name, found, report);
  return absl::OkStatus();
}

// Empty where the node has no worker that answers.
std::unique_ptr<AnsweringNode> FindWorker(const ClusterConfig& config,
                                          const NodeConfig& node,
                                          const NodeConfig& peer,
                                          std::uint16_t probe_port,
                                          Report* report) {
  if (node.name != config.head || peer.ranks.empty()) {
    report->Skip("peer.daemon",
                 "node " + peer.name +
                     (peer.ranks.empty() ? ": no worker runs there"
                                         : ": workers answer the head's node only"));
    return nullptr;
  }
  absl::StatusOr<WorkerExaminer> worker = WorkerOf(config, node, peer);
  absl::Status status = worker.status();
  if (status.ok()) {
    auto answering = std::make_unique<AnsweringNode>(
        AnsweringNode{&peer, *std::move(worker), {probe_port, head::cluster::NewSessionKey()}});
    status = AskWorker(*answering, report);
    if (status.ok()) {
      return answering;
    }
  }
  if (absl::IsUnavailable(status)) {
    report->Info("peer.daemon",
                 "node " + peer.name,
                 absl::StrFormat("no worker answers, its standing doctor is asked: %s",
                                 std::string(status.message())));
  } else {
    report->Fail("peer.daemon",
                 "node " + peer.name,
                 std::string(status.message()),
                 "a worker that lets this node ask",
                 "use one release, one cluster.yaml and one authority's certificates on all nodes");
  }
  return nullptr;
}

// Workers speak to each other too, by links that do not end here.
void ProbeBetween(const std::vector<std::unique_ptr<AnsweringNode>>& nodes, Report* report) {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (std::size_t j = i + 1; j < nodes.size(); ++j) {
      const absl::StatusOr<Report> found =
          nodes[i]->worker.ProbePeer(nodes[j]->node->name, nodes[j]->target, kProbeTimeout);
      if (!found.ok()) {
        report->Fail(
            "tcp.reach",
            absl::StrFormat("node %s to node %s", nodes[i]->node->name, nodes[j]->node->name),
            std::string(found.status().message()),
            "an answer",
            "look at the doctors of both nodes");
        continue;
      }
      for (Finding finding : found->findings()) {
        finding.subject = "node " + nodes[i]->node->name + ": " + finding.subject;
        report->Add(std::move(finding));
      }
    }
  }
}

}  // namespace

void ExaminePeers(const ClusterConfig& config,
                  const NodeConfig& node,
                  std::uint16_t probe_port,
                  const engine::doctor::PeerFacts& own,
                  Report* report) {
  if (config.nodes.size() == 1) {
    report->Skip("tcp.reach", "there is one node only");
  }
  std::vector<std::unique_ptr<AnsweringNode>> answering;
  for (const NodeConfig& peer : config.nodes) {
    if (peer.name == node.name) {
      continue;
    }
    std::unique_ptr<AnsweringNode> worker = FindWorker(config, node, peer, probe_port, report);
    const ProbeTarget target = worker == nullptr ? ProbeTarget{probe_port, ""} : worker->target;
    engine::doctor::ProbeNode(node, peer, target, own, report);
    if (worker != nullptr) {
      answering.push_back(std::move(worker));
    }
  }
  ProbeBetween(answering, report);
}

}  // namespace sparkspan::deploy::cli
