#include <algorithm>
#include <charconv>
#include <chrono>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/log.h"
#include "engine/base/service_notifier.h"
#include "engine/base/status.h"
#include "engine/base/stop_signal.h"
#include "engine/config/node_environment.h"
#include "engine/config/node_pins.h"
#include "engine/config/own_credentials.h"
#include "engine/config/parse_cluster_config.h"
#include "engine/doctor/machine.h"
#include "engine/doctor/node_examiner.h"
#include "engine/fabric/address.h"
#include "engine/identity/role.h"
#include "engine/identity/tls_version.h"
#include "worker/lifecycle.h"
#include "worker/service.h"
#include "worker/stall_watch.h"

// The program `sparkspan-worker`: one rank of a cluster.
namespace sparkspan::worker {
namespace {

constexpr std::string_view kUsage =
    "usage: sparkspan-worker --cluster FILE --rank R\n\n"
    "Loads rank R of the cluster that FILE (cluster.yaml) describes and waits for its head.\n";
constexpr std::chrono::seconds kProgressInterval{1};
constexpr int kStallSteps = 2;  // a step that lasts so many times its deadline never ends

struct Options {
  std::string cluster;
  int rank = -1;
};

bool ParseOptions(std::span<const std::string_view> args, Options* options) {
  for (std::size_t i = 0; i + 1 < args.size(); i += 2) {
    const std::string_view value = args[i + 1];
    if (args[i] == "--cluster") {
      options->cluster = value;
    } else if (args[i] == "--rank") {
      const auto [end, error] =
          std::from_chars(value.data(), value.data() + value.size(), options->rank);
      if (error != std::errc() || end != value.data() + value.size()) {
        return false;
      }
    } else {
      return false;
    }
  }
  return args.size() % 2 == 0 && !options->cluster.empty() && options->rank >= 0;
}

// Null, and why in `waits_for`, until then. The names were found to be right when the rank started:
// whatever is missing now may come back.
absl::StatusOr<std::unique_ptr<Service>> StartOnceThereIsAnAddress(
    const engine::config::NodeConfig& node,
    const ServiceOptions& options,
    Lifecycle& lifecycle,
    std::string* waits_for) {
  const absl::Status pin = engine::config::VerifyControlPin(node).status();
  if (!pin.ok()) {
    if (pin.message() != *waits_for) {
      *waits_for = std::string(pin.message());
      LOG(WARNING) << "waiting: " << *waits_for;
    }
    return nullptr;
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Service> service, Service::Start(options, lifecycle));
  LOG(INFO) << "waiting for the head at " << options.address << ":" << service->port();
  return service;
}

// In one line, what the rank is doing or waiting for.
std::string Describe(const Lifecycle& lifecycle, const LoadProgress& progress) {
  if (!progress.failure.ok()) {
    return std::string(progress.failure.message());
  }
  const std::string state = progress.loaded ? "weights are resident" : "loading: " + progress.phase;
  const std::string shortage = lifecycle.memory().shortage;
  const std::string fault = shortage.empty() ? lifecycle.interfaces().fault() : shortage;
  return fault.empty() ? state : state + "; waiting: " + fault;
}

// Until the signal to stop (OK) or until the machine's memory is exhausted. Tells who started this
// process how far it is, and that it lives for as long as its rank does not hang. `service` is made
// when the control interface is as declared: before, there is no address to listen on.
absl::Status ServeUntilStop(Lifecycle& lifecycle,
                            const engine::config::NodeConfig& node,
                            const ServiceOptions& service_options,
                            engine::Duration step_timeout,
                            engine::StopSignal& stop) {
  engine::ServiceNotifier notifier = engine::ServiceNotifier::FromEnvironment();
  const engine::Duration interval =
      notifier.is_wanted()
          ? std::min<engine::Duration>(notifier.SignInterval() / 2, kProgressInterval)
          : kProgressInterval;
  StallWatch stall(kStallSteps * step_timeout);
  std::unique_ptr<Service> service;
  std::string waits_for;
  do {
    const engine::Time now = std::chrono::steady_clock::now();
    if (service == nullptr) {
      ASSIGN_OR_RETURN(service,
                       StartOnceThereIsAnAddress(node, service_options, lifecycle, &waits_for));
    }
    const LoadProgress progress = lifecycle.WaitForLoading(now);
    const engine::runtime::RankPosition position = lifecycle.position();
    const bool is_stuck = stall.IsStuck(position, now);
    notifier.Status(is_stuck ? "hangs " + Describe(position) : Describe(lifecycle, progress));
    if (progress.loaded) {
      notifier.Ready();
    }
    if (!is_stuck) {
      notifier.Alive(now);
    }
    if (const MemoryReport memory = lifecycle.memory(); memory.is_exhausted) {
      return absl::ResourceExhaustedError(memory.shortage);
    }
  } while (!stop.WaitUntil(std::chrono::steady_clock::now() + interval));
  return absl::OkStatus();
}

absl::Status Run(const Options& options, engine::StopSignal& stop) {
  ASSIGN_OR_RETURN(engine::config::ClusterConfig config,
                   engine::config::ReadClusterConfig(options.cluster));
  const engine::Rank rank(options.rank);
  if (options.rank < config.ranks()) {  // Else Lifecycle says what is wrong.
    RETURN_IF_ERROR(engine::config::PrepareEnvironment(config, NodeOf(config, rank)));
  }
  ASSIGN_OR_RETURN(const auto lifecycle, Lifecycle::Start(config, rank));
  const engine::fabric::Endpoint control =
      ControlEndpoints(config)[static_cast<std::size_t>(options.rank)];
  ServiceOptions service_options;
  service_options.address = engine::fabric::ToString(control.address);
  service_options.interface = NodeOf(config, rank).control.interface;
  service_options.port = control.port;
  service_options.program_version = SPARKSPAN_VERSION;
  service_options.heartbeat_interval = std::chrono::milliseconds(config.timeouts.heartbeat_ms);
  service_options.silence_limit = std::chrono::milliseconds(config.timeouts.silence_ms);
  ASSIGN_OR_RETURN(
      service_options.tls,
      OwnCredentials(config, engine::identity::Role::kWorker, NodeOf(config, rank).name));
  service_options.head_name = RoleName(engine::identity::Role::kHead, config.head, config.cluster);
  for (const engine::config::NodeConfig& node : config.nodes) {
    if (node.name == config.head) {
      service_options.head_address = engine::fabric::ToString(node.control.address);
    }
  }
  service_options.examiner = std::make_shared<engine::doctor::NodeExaminer>(
      config, NodeOf(config, rank).name, engine::doctor::ThisMachine(), SPARKSPAN_VERSION);
  RETURN_IF_ERROR(ServeUntilStop(*lifecycle,
                                 NodeOf(config, rank),
                                 service_options,
                                 std::chrono::milliseconds(config.timeouts.step_ms),
                                 stop));
  LOG(INFO) << "stopping";
  return absl::OkStatus();
}

int Main(std::span<const std::string_view> args) {
  Options options;
  if (args.size() == 1 && args[0] == "--help") {
    std::cerr << kUsage;
    return 0;
  }
  if (args.size() == 1 && args[0] == "--version") {
    std::cerr << "sparkspan-worker " << SPARKSPAN_VERSION << "\n";
    return 0;
  }
  if (!ParseOptions(args, &options)) {
    std::cerr << kUsage;
    return 2;
  }
  engine::identity::AllowTls13Only();
  engine::SetLogIdentity("sparkspan-worker", std::to_string(options.rank));
  engine::StopSignal stop;
  const absl::Status status = Run(options, stop);
  if (!status.ok()) {
    LOG(ERROR) << status.message();
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace sparkspan::worker

int main(int argc, char** argv) {
  const std::vector<std::string_view> args(argv + (argc > 0 ? 1 : 0), argv + argc);
  return sparkspan::worker::Main(args);
}
