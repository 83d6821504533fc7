#include "tests/integration/local_workers.h"

#include <gtest/gtest.h>

#include <utility>

#include "engine/config/local_config.h"
#include "engine/doctor/machine.h"
#include "engine/doctor/node_examiner.h"
#include "tests/claimed_port.h"

namespace sparkspan::tests {
namespace {

using engine::Rank;
using engine::config::ClusterConfig;

// So long that a loaded machine is not taken for a dead rank.
constexpr std::chrono::seconds kSilenceLimit{30};

const engine::fabric::DeclaredPin kLoopback{"lo", {0x7F000001}};

}  // namespace

engine::Time Soon() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(60);
}

ClusterConfig MakeConfig(int ranks) {
  engine::config::LocalCluster local;
  local.model.path = "deploy/demo/model";
  local.model.served_names = {"demo"};
  local.limits.context_length = 1024;
  local.limits.sequences = 2;
  local.limits.step_rows = 128;
  local.limits.kv_tokens = 2048;
  local.limits.memory_reserve_bytes = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    local.devices.emplace_back();
    local.control_ports.push_back(ClaimedPort(kLoopback));
    local.data_ports.push_back(ClaimedPort(kLoopback));
  }
  const absl::StatusOr<ClusterConfig> config = engine::config::MakeLocalConfig(local);
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

Worker StartWorker(const ClusterConfig& config, int rank, const ServiceChange& change) {
  Worker worker;
  auto lifecycle = worker::Lifecycle::Start(config, Rank(rank));
  EXPECT_TRUE(lifecycle.ok()) << lifecycle.status();
  worker.lifecycle = *std::move(lifecycle);
  worker::ServiceOptions options;
  options.address = "127.0.0.1";
  options.port = config.nodes[0].ranks[static_cast<std::size_t>(rank)].control_port;
  options.head_address = "127.0.0.1";
  options.program_version = kVersion;
  options.silence_limit = kSilenceLimit;
  options.examiner = std::make_shared<engine::doctor::NodeExaminer>(
      config, "local", engine::doctor::ThisMachine(), kVersion);
  if (change) {
    change(options);
  }
  auto service = worker::Service::Start(options, *worker.lifecycle);
  EXPECT_TRUE(service.ok()) << service.status();
  worker.service = *std::move(service);
  return worker;
}

std::unique_ptr<head::cluster::RemoteCluster> MakeCluster(const ClusterConfig& config,
                                                          const LinksChange& change) {
  head::cluster::GrpcLinksOptions links;
  links.workers = ControlEndpoints(config);
  links.control = config.nodes[0].control;
  links.program_version = kVersion;
  links.config_hash = Hash(config);
  links.silence_limit = kSilenceLimit;
  if (change) {
    change(links);
  }
  auto made = head::cluster::GrpcLinks::Create(links);
  EXPECT_TRUE(made.ok()) << made.status();
  head::cluster::RemoteClusterOptions options;
  for (std::size_t rank = 0; rank < links.workers.size(); ++rank) {
    options.workers.push_back(
        {Rank(static_cast<std::int32_t>(rank)), "local", links.workers[rank]});
  }
  options.program_version = kVersion;
  options.config_hash = Hash(config);
  options.silence_limit = kSilenceLimit;
  options.shape.ranks = config.ranks();
  return std::make_unique<head::cluster::RemoteCluster>(std::move(options), *std::move(made));
}

engine::runtime::StepPlan FirstPlan(engine::Epoch epoch) {
  engine::runtime::StepPlan plan;
  plan.epoch = epoch;
  plan.step = engine::Step(1);
  engine::runtime::SequenceOpen open;
  open.sequence = engine::SequenceId(1);
  open.sampling.temperature = 0;
  open.prompt_tokens = 3;
  plan.open.push_back(open);
  plan.grants.push_back({engine::SequenceId(1), {0}});
  engine::runtime::RowSpan span;
  span.sequence = engine::SequenceId(1);
  span.tokens = std::vector<engine::Token>{10, 11, 12};
  span.sample = true;
  plan.spans.push_back(span);
  return plan;
}

std::optional<engine::Token> RunFirstStep(head::cluster::RemoteCluster& cluster,
                                          engine::Epoch epoch) {
  EXPECT_TRUE(cluster.Submit(FirstPlan(epoch)).ok());
  const auto result = cluster.Collect(Soon());
  if (!result.ok()) {
    ADD_FAILURE() << result.status();
    return std::nullopt;
  }
  return result->sequences.at(0).tokens.at(0).token;
}

}  // namespace sparkspan::tests
