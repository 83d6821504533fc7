#include "deploy/cli/doctor_command.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <string>
#include <utility>

#include "deploy/cli/doctor_peers.h"
#include "deploy/cli/flags.h"
#include "deploy/cli/node_choice.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/base/stop_signal.h"
#include "engine/config/parse_cluster_config.h"
#include "engine/doctor/examination.h"
#include "engine/doctor/machine.h"
#include "engine/doctor/node_examiner.h"
#include "engine/doctor/peer_facts.h"
#include "engine/doctor/probe_connection.h"
#include "engine/doctor/probe_server.h"
#include "engine/identity/tls_version.h"

namespace sparkspan::deploy::cli {
namespace {

namespace doctor = engine::doctor;

constexpr char kUsage[] = R"(usage: sparkspan doctor --cluster FILE [--node NAME] [flags]

Compares this machine with what cluster.yaml says of it. Changes nothing. With --peers it also
compares the nodes and measures the links between them: on the head's node with the workers of the
others, elsewhere and where none runs with the doctors that --answer there. Not while the cluster
serves: it takes the links' bandwidth.

  --cluster FILE   cluster.yaml
  --node NAME      which node this machine is; without it the variable NODE_RANK counts from 0
  --json           all findings as JSON
  --verbose        also what passed
  --answer         answer other nodes' --peers until SIGINT or SIGTERM
  --peers          also have the other nodes looked at, and probe them
  --probe-port P   where the doctors meet (7300)
  --root DIR       look at a copy of another machine's sys, proc and etc in DIR

Exit status: 0 nothing to do, 3 warnings, 4 failures; 1 it could not look, 2 wrong arguments.
)";

struct DoctorOptions {
  std::string cluster;
  std::string node;
  std::string root;
  std::uint16_t probe_port = doctor::kProbePort;
  bool answer = false;
  bool peers = false;
  bool json = false;
  bool verbose = false;
};

absl::Status AnswerPeers(const DoctorOptions& options,
                         const engine::config::ClusterConfig& config,
                         const engine::config::NodeConfig& node,
                         const doctor::Machine& machine) {
  engine::StopSignal stop;
  const doctor::NodeExaminer examiner(config, node.name, machine, SPARKSPAN_VERSION);
  ASSIGN_OR_RETURN(const auto server,
                   doctor::ProbeServer::Start(config, node, {options.probe_port, "", [&examiner] {
                                                               return examiner.Facts();
                                                             }}));
  LOG(INFO) << "node " << node.name << " answers probes on port " << options.probe_port;
  while (!stop.WaitUntil(std::chrono::steady_clock::now() + std::chrono::minutes(10))) {
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Examine(const DoctorOptions& options) {
  ASSIGN_OR_RETURN(const engine::config::ClusterConfig config,
                   engine::config::ReadClusterConfig(options.cluster));
  ASSIGN_OR_RETURN(const engine::config::NodeConfig* node,
                   ChooseNode(config, options.node, NodeRankVariable()));
  doctor::Machine machine = doctor::ThisMachine();
  if (!options.root.empty()) {
    ASSIGN_OR_RETURN(machine, doctor::MachineIn(options.root));
  }
  if (options.answer) {
    RETURN_IF_ERROR(AnswerPeers(options, config, *node, machine));
    return 0;
  }
  ASSIGN_OR_RETURN(const doctor::NodeFacts facts, doctor::CollectFacts(machine, config, *node));
  doctor::Report report = doctor::Examine({config, *node, facts});
  doctor::CheckRelease(config, &report);
  if (options.peers) {
    const doctor::PeerFacts own =
        doctor::MakePeerFacts(config, *node, facts, SPARKSPAN_VERSION, /*unix_milliseconds=*/0);
    ExaminePeers(config, *node, options.probe_port, own, &report);
  } else {
    report.Skip("tcp.reach", "other nodes are probed with --peers only");
  }
  std::cout << (options.json ? ToJson(report, node->name)
                             : ToText(report, node->name, options.verbose));
  return report.ExitCode();
}

}  // namespace

int RunDoctorCommand(std::span<const std::string_view> args) {
  if (std::find(args.begin(), args.end(), "--help") != args.end()) {
    std::cout << kUsage;
    return 0;
  }
  DoctorOptions options;
  absl::Status status = ParseFlags(args,
                                   {{"--cluster", TextFlag(&options.cluster)},
                                    {"--node", TextFlag(&options.node)},
                                    {"--probe-port", IntegerFlag(&options.probe_port, 1, 65'535)},
                                    {"--root", TextFlag(&options.root)}},
                                   {{"--answer", &options.answer},
                                    {"--json", &options.json},
                                    {"--peers", &options.peers},
                                    {"--verbose", &options.verbose}});
  if (status.ok() && options.cluster.empty()) {
    status = absl::InvalidArgumentError("--cluster is missing: name a cluster.yaml");
  }
  if (!status.ok()) {
    std::cerr << "doctor: " << status.message() << "\n\n" << kUsage;
    return 2;
  }
  engine::identity::AllowTls13Only();
  const absl::StatusOr<int> code = Examine(options);
  if (!code.ok()) {
    std::cerr << "doctor: " << code.status().message() << "\n";
    return 1;
  }
  return *code;
}

}  // namespace sparkspan::deploy::cli
