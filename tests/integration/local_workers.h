#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/config/cluster_config.h"
#include "engine/runtime/plan.h"
#include "head/cluster/grpc_links.h"
#include "head/cluster/remote_cluster.h"
#include "worker/lifecycle.h"
#include "worker/service.h"

// Workers and the head's side of their streams in one process, over real sockets on loopback.
namespace sparkspan::tests {

inline constexpr const char* kVersion = "test";

// A deadline that only a test that fails meets.
engine::Time Soon();

// One node "local" of cluster "local" with so many ranks of the demo model, on free ports.
engine::config::ClusterConfig MakeConfig(int ranks);

// A worker process's two halves.
struct Worker {
  std::unique_ptr<worker::Lifecycle> lifecycle;
  std::unique_ptr<worker::Service> service;
};

using ServiceChange = std::function<void(worker::ServiceOptions&)>;
Worker StartWorker(const engine::config::ClusterConfig& config,
                   int rank,
                   const ServiceChange& change = {});

using LinksChange = std::function<void(head::cluster::GrpcLinksOptions&)>;
std::unique_ptr<head::cluster::RemoteCluster> MakeCluster(
    const engine::config::ClusterConfig& config, const LinksChange& change = {});

// One greedy step of a prompt that opens sequence 1.
engine::runtime::StepPlan FirstPlan(engine::Epoch epoch);
// Its token; fails the test when there is none.
std::optional<engine::Token> RunFirstStep(head::cluster::RemoteCluster& cluster,
                                          engine::Epoch epoch);

}  // namespace sparkspan::tests
