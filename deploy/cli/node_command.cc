#include "deploy/cli/node_command.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "deploy/cli/flags.h"
#include "deploy/cli/node_choice.h"
#include "deploy/cli/supervisor.h"
#include "engine/base/log.h"
#include "engine/base/service_notifier.h"
#include "engine/base/status.h"
#include "engine/config/check_supported.h"
#include "engine/config/parse_cluster_config.h"

namespace sparkspan::deploy::cli {
namespace {

constexpr char kUsage[] = R"(usage: sparkspan node --cluster FILE [--node NAME] [--restarts N]

Starts what cluster.yaml gives this machine: a worker for each of its ranks, and the head where it
is the head's. A program that ends by itself is started again, while the others keep what they have
loaded. SIGINT or SIGTERM stops all; a second one stops now.

  --cluster FILE   cluster.yaml, the same on every node
  --node NAME      which node this machine is; without it the variable NODE_RANK counts from 0
  --restarts N     of one program in a row, with a pause that doubles from 1 s (5)
)";

// The head drains for 30 s of it; then come the workers.
constexpr std::chrono::seconds kStopGrace{40};

struct NodeOptions {
  std::string cluster;
  std::string node;
  int restarts = 5;
};

absl::Status RunNode(const NodeOptions& options) {
  ASSIGN_OR_RETURN(const engine::config::ClusterConfig config,
                   engine::config::ReadClusterConfig(options.cluster));
  RETURN_IF_ERROR(engine::config::CheckSupported(config));
  ASSIGN_OR_RETURN(const engine::config::NodeConfig* node,
                   ChooseNode(config, options.node, NodeRankVariable()));
  const std::filesystem::path programs =
      std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::vector<Program> started;
  for (const engine::config::RankConfig& rank : node->ranks) {
    const std::string number = std::to_string(rank.rank.value());
    started.push_back({"worker " + number,
                       programs / "sparkspan-worker",
                       {"--cluster", options.cluster, "--rank", number}});
  }
  if (node->name == config.head) {
    started.push_back({"head", programs / "sparkspan-head", {"--cluster", options.cluster}});
  }
  if (started.empty()) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "node %s has neither ranks nor the head: there is nothing to start", node->name));
  }
  LOG(INFO) << "node " << node->name << ": starting " << started.size() << " programs";
  Restarts restarts;
  restarts.restarts_max = options.restarts;
  ASSIGN_OR_RETURN(
      Supervisor supervisor,
      Supervisor::Start(started, restarts, engine::ServiceNotifier::FromEnvironment()));
  return supervisor.Run(kStopGrace);
}

}  // namespace

int RunNodeCommand(std::span<const std::string_view> args) {
  if (std::find(args.begin(), args.end(), "--help") != args.end()) {
    std::cout << kUsage;
    return 0;
  }
  NodeOptions options;
  absl::Status status = ParseFlags(args,
                                   {{"--cluster", TextFlag(&options.cluster)},
                                    {"--node", TextFlag(&options.node)},
                                    {"--restarts", IntegerFlag(&options.restarts, 0, 1000)}});
  if (status.ok() && options.cluster.empty()) {
    status = absl::InvalidArgumentError("--cluster is missing: name a cluster.yaml");
  }
  if (!status.ok()) {
    std::cerr << "node: " << status.message() << "\n\n" << kUsage;
    return 2;
  }
  engine::SetLogIdentity("sparkspan-node", "");
  status = RunNode(options);
  if (!status.ok()) {
    std::cerr << "node: " << status.message() << "\n";
    return 1;
  }
  return 0;
}

}  // namespace sparkspan::deploy::cli
