#include "deploy/cli/init_command.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "deploy/cli/flags.h"
#include "deploy/cli/node_description.h"
#include "engine/base/status.h"
#include "engine/config/propose_config.h"
#include "engine/config/propose_netplan.h"
#include "engine/doctor/machine.h"
#include "engine/fabric/neighbours.h"
#include "engine/weights/checkpoint.h"

namespace sparkspan::deploy::cli {
namespace {

constexpr char kUsage[] =
    R"(usage: sparkspan init [--name NAME] [--model-path DIR] [--with FILE ...]
       sparkspan init --describe [--name NAME]

Prints a cluster.yaml for this machine and the described ones, with the reason of each choice as a
comment. For two nodes: on the second `sparkspan init --describe > spark2.json`, then on the first
`sparkspan init --with spark2.json > cluster.yaml`. Links are probed by ARP, so that a cable in
another cage than described shows. Where ports have a link but no address it prints the netplan that
is missing. It only proposes: nothing is chosen when the daemons start.

  --name NAME        this node's name (the host name)
  --model-path DIR   the checkpoint's folder, the same on every node (/var/lib/sparkspan/model)
  --with FILE        the description of another node; may be repeated
  --rails            write the fabric's ports with their RDMA devices as data rails, which this
                     release refuses to serve with; without it data goes over TCP
  --no-probe         do not ask on each link who answers for the other node's address
  --describe         print this machine's description instead
  --root DIR         look at a copy of another machine's sys, proc and etc in DIR
)";

constexpr std::chrono::seconds kProbeTimeout{2};

struct InitOptions {
  std::string name;
  std::string model_path = "/var/lib/sparkspan/model";
  std::vector<std::string> with;
  std::string root;
  bool describe = false;
  bool rails = false;
  bool no_probe = false;
};

std::string HostName() {
  char name[65] = {};
  return gethostname(name, sizeof(name) - 1) == 0 && name[0] != '\0' ? name : "node1";
}

absl::StatusOr<engine::config::NodeDescription> DescribeThis(const InitOptions& options) {
  engine::doctor::Machine machine = engine::doctor::ThisMachine();
  if (!options.root.empty()) {
    ASSIGN_OR_RETURN(machine, engine::doctor::MachineIn(options.root));
  }
  engine::config::NodeDescription node;
  node.name = options.name.empty() ? HostName() : options.name;
  node.cpus = static_cast<std::int32_t>(sysconf(_SC_NPROCESSORS_ONLN));
  ASSIGN_OR_RETURN(node.interfaces,
                   engine::fabric::ListInterfaces(machine.sysfs(), *machine.addresses));
  return node;
}

absl::StatusOr<std::string> Init(const InitOptions& options) {
  std::vector<engine::config::NodeDescription> nodes;
  ASSIGN_OR_RETURN(engine::config::NodeDescription own, DescribeThis(options));
  if (options.describe) {
    return ToJson(own);
  }
  nodes.push_back(std::move(own));
  for (const std::string& file : options.with) {
    std::ifstream stream(file);
    if (!stream) {
      return absl::NotFoundError(absl::StrFormat("--with %s: there is no such file", file));
    }
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    ASSIGN_OR_RETURN(engine::config::NodeDescription node, ParseNodeDescription(text, file));
    nodes.push_back(std::move(node));
  }
  engine::config::ProposalOptions proposal_options;
  proposal_options.model_path = options.model_path;
  if (const auto checkpoint = engine::weights::Checkpoint::Open(options.model_path);
      checkpoint.ok()) {
    proposal_options.context_max = (*checkpoint)->generation().context_tokens_max;
  }
  if (options.rails) {
    proposal_options.data = engine::config::DataTransport::kRails;
  }
  if (!options.no_probe && options.root.empty()) {
    proposal_options.probe = [](const auto& pin, engine::fabric::Ipv4Address peer) {
      return engine::fabric::FindNeighbour(
          pin, peer, std::chrono::steady_clock::now() + kProbeTimeout);
    };
  }
  const absl::StatusOr<engine::config::Proposal> proposal =
      engine::config::ProposeConfig(nodes, proposal_options);
  if (absl::IsNotFound(proposal.status())) {
    if (const std::string netplan = engine::config::MissingNetplan(nodes); !netplan.empty()) {
      return absl::NotFoundError(
          absl::StrFormat("%s\n\nPorts of the fabric have a link but no static address. Give them:"
                          "\n\n%s",
                          proposal.status().message(),
                          netplan));
    }
  }
  RETURN_IF_ERROR(proposal.status());
  return ToYaml(*proposal);
}

}  // namespace

int RunInitCommand(std::span<const std::string_view> args) {
  if (std::find(args.begin(), args.end(), "--help") != args.end()) {
    std::cout << kUsage;
    return 0;
  }
  InitOptions options;
  const absl::Status parsed = ParseFlags(args,
                                         {{"--name", TextFlag(&options.name)},
                                          {"--model-path", TextFlag(&options.model_path)},
                                          {"--root", TextFlag(&options.root)},
                                          {"--with",
                                           [&options](std::string_view, std::string_view file) {
                                             options.with.emplace_back(file);
                                             return absl::OkStatus();
                                           }}},
                                         {{"--describe", &options.describe},
                                          {"--no-probe", &options.no_probe},
                                          {"--rails", &options.rails}});
  if (!parsed.ok()) {
    std::cerr << "init: " << parsed.message() << "\n\n" << kUsage;
    return 2;
  }
  const absl::StatusOr<std::string> text = Init(options);
  if (!text.ok()) {
    std::cerr << "init: " << text.status().message() << "\n";
    return 1;
  }
  std::cout << *text;
  return 0;
}

}  // namespace sparkspan::deploy::cli
