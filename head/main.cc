#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/service_notifier.h"
#include "engine/base/status.h"
#include "engine/base/stop_signal.h"
#include "engine/config/check_supported.h"
#include "engine/config/node_pins.h"
#include "engine/config/own_credentials.h"
#include "engine/config/parse_cluster_config.h"
#include "engine/doctor/examination.h"
#include "engine/doctor/facts.h"
#include "engine/draft/choose_drafter.h"
#include "engine/fabric/pin_monitor.h"
#include "engine/identity/role.h"
#include "engine/identity/tls_version.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/checkpoint_hash.h"
#include "head/api/model_codec.h"
#include "head/cluster/engine_loop.h"
#include "head/cluster/grpc_links.h"
#include "head/cluster/interface_meter.h"
#include "head/cluster/readiness.h"
#include "head/cluster/remote_cluster.h"
#include "head/cluster/worker_examiner.h"
#include "head/failure_examiner.h"
#include "head/http/server.h"
#include "head/http/service.h"
#include "head/served_model.h"
#include "head/status/metrics.h"

// The program `sparkspan-head`: serves the API of a cluster and plans its steps.
namespace sparkspan::head {
namespace {

using engine::config::ClusterConfig;
using engine::config::NodeConfig;

constexpr std::string_view kUsage =
    "usage: sparkspan-head --cluster FILE\n\n"
    "Serves the API of the cluster that FILE (cluster.yaml) describes.\n";
constexpr std::chrono::milliseconds kPollInterval{100};
constexpr std::chrono::seconds kDrainTimeout{30};
constexpr std::chrono::seconds kExamineTimeout{10};  // of a node by its worker
constexpr std::chrono::seconds kExamineAgain{1};

// Steps of starting and how long each took, for the log and the status page.
class Phases {
 public:
  void Finish(const std::string& name) {
    const engine::Time now = std::chrono::steady_clock::now();
    finished_.push_back({name, std::chrono::duration<double>(now - began_).count(), true});
    began_ = now;
  }
  const std::vector<api::StartUpPhase>& finished() const { return finished_; }

 private:
  engine::Time began_ = std::chrono::steady_clock::now();
  std::vector<api::StartUpPhase> finished_;
};

// The head's own interfaces: who asks for the status samples them.
class OwnInterfaces {
 public:
  static absl::StatusOr<std::unique_ptr<OwnInterfaces>> Watch(const ClusterConfig& config,
                                                              const NodeConfig& node) {
    auto own = std::make_unique<OwnInterfaces>();
    // The relays end what a lost link breaks, and say so.
    ASSIGN_OR_RETURN(own->monitor_,
                     engine::fabric::PinMonitor::Start("/sys", {HeadPin(config, node)}, nullptr));
    return own;
  }

  std::vector<api::InterfaceStatus> Status() {
    const std::vector<engine::fabric::PinSample> samples = monitor_->Sample();
    const std::lock_guard lock(mutex_);
    meter_.Take(samples, std::chrono::steady_clock::now());
    return meter_.interfaces();
  }

 private:
  std::unique_ptr<engine::fabric::PinMonitor> monitor_;
  std::mutex mutex_;
  cluster::InterfaceMeter meter_;
};

const NodeConfig& HeadNode(const ClusterConfig& config) {
  return *std::find_if(config.nodes.begin(), config.nodes.end(), [&](const NodeConfig& node) {
    return node.name == config.head;
  });
}

absl::StatusOr<engine::doctor::Report> LookAfterFailure(const ClusterConfig& config,
                                                        const NodeConfig& node) {
  ASSIGN_OR_RETURN(const engine::doctor::NodeFacts facts,
                   engine::doctor::CollectFabricFacts(engine::doctor::ThisMachine(), config, node));
  return engine::doctor::ExamineAfterFailure({config, node, facts});
}

// The head's own node, and every other by the worker of its first rank.
std::vector<ExaminedNode> ExaminedNodes(const ClusterConfig& config,
                                        const NodeConfig& own,
                                        const cluster::GrpcLinksOptions& links) {
  std::vector<ExaminedNode> nodes = {
      {own.name, [&config, &own] { return LookAfterFailure(config, own); }}};
  for (const NodeConfig& node : config.nodes) {
    if (node.name != own.name && !node.ranks.empty()) {
      const auto rank = static_cast<std::size_t>(node.ranks[0].rank.value());
      const auto examiner = std::make_shared<cluster::WorkerExaminer>(
          cluster::ExaminerOptions{links.control,
                                   links.tls,
                                   links.program_version,
                                   links.config_hash,
                                   links.workers[rank],
                                   links.worker_names[rank]});
      nodes.push_back({node.name, [examiner] {
                         return examiner->ExamineNode(/*after_failure=*/true, kExamineTimeout);
                       }});
    }
  }
  return nodes;
}

absl::StatusOr<cluster::GrpcLinksOptions> LinksOptions(const ClusterConfig& config) {
  using engine::identity::Role;
  cluster::GrpcLinksOptions options;
  ASSIGN_OR_RETURN(options.tls, OwnCredentials(config, Role::kHead, config.head));
  for (std::int32_t rank = 0; rank < config.ranks(); ++rank) {
    options.worker_names.push_back(
        RoleName(Role::kWorker, NodeOf(config, engine::Rank(rank)).name, config.cluster));
  }
  options.workers = ControlEndpoints(config);
  options.control = HeadNode(config).control;
  options.silence_limit = std::chrono::milliseconds(config.timeouts.silence_ms);
  options.program_version = SPARKSPAN_VERSION;
  options.config_hash = Hash(config);
  return options;
}

cluster::RemoteClusterOptions ClusterOptions(const ClusterConfig& config,
                                             std::uint64_t checkpoint_hash,
                                             std::int64_t vocabulary,
                                             int draft_block) {
  const std::vector<engine::fabric::Endpoint> endpoints = ControlEndpoints(config);
  cluster::RemoteClusterOptions options;
  for (std::size_t rank = 0; rank < endpoints.size(); ++rank) {
    const engine::Rank id(static_cast<std::int32_t>(rank));
    options.workers.push_back({id, NodeOf(config, id).name, endpoints[rank]});
  }
  options.program_version = SPARKSPAN_VERSION;
  options.config_hash = Hash(config);
  options.checkpoint_hash = checkpoint_hash;
  options.heartbeat_interval = std::chrono::milliseconds(config.timeouts.heartbeat_ms);
  options.silence_limit = std::chrono::milliseconds(config.timeouts.silence_ms);
  options.shape.ranks = config.ranks();
  options.shape.vocabulary = vocabulary;
  options.shape.kv_block_tokens = kernels::kKvBlockTokens;
  options.shape.sequences_max = static_cast<std::int32_t>(config.EffectiveLimits().sequences);
  options.shape.step_rows_max = config.EffectiveLimits().step_rows;
  options.shape.draft_tokens_max = draft_block;
  return options;
}

engine::schedule::VerificationPolicy PolicyOf(engine::config::Verification verification) {
  using engine::config::Verification;
  using engine::schedule::VerificationPolicy;
  switch (verification) {
    case Verification::kHardware:
      return VerificationPolicy::kHardware;
    case Verification::kFixed:
      return VerificationPolicy::kFixed;
    case Verification::kThreshold:
      return VerificationPolicy::kThreshold;
    case Verification::kNone:
      return VerificationPolicy::kNone;
  }
  return VerificationPolicy::kNone;
}

cluster::EngineLoopOptions LoopOptions(const ClusterConfig& config) {
  const engine::config::Limits& limits = config.EffectiveLimits();
  cluster::EngineLoopOptions options;
  options.scheduler.kv_block_tokens = kernels::kKvBlockTokens;
  options.scheduler.running_max = static_cast<std::int32_t>(limits.sequences);
  options.scheduler.waiting_max = static_cast<std::int32_t>(limits.waiting_requests);
  options.scheduler.step_rows_max = limits.step_rows;
  options.scheduler.context_tokens_max = limits.context_length;
  options.scheduler.verification = PolicyOf(config.verification);
  options.scheduler.verification_threshold =
      static_cast<double>(config.verification_threshold_percent) / 100;
  options.step_timeout = std::chrono::milliseconds(config.timeouts.step_ms);
  options.form_timeout = std::chrono::milliseconds(config.timeouts.start_ms);
  options.queue_timeout = std::chrono::milliseconds(config.timeouts.queue_ms);
  // docs/engine.md: invariants.epoch.
  options.first_epoch = engine::Epoch(
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                     std::chrono::system_clock::now().time_since_epoch())
                                     .count()));
  options.numerics = std::string(ToString(config.numerics));
  return options;
}

http::ServerOptions HttpOptions(const ClusterConfig& config) {
  const engine::config::Limits& limits = config.EffectiveLimits();
  http::ServerOptions options;
  options.address = config.api.address;
  options.port = config.api.port;
  options.threads = http::ThreadsFor(limits.sequences + limits.waiting_requests);
  options.body_bytes_max = static_cast<std::size_t>(config.api.body_bytes_max);
  return options;
}

// Lets each connection have its descriptor, where the hard limit does.
void AllowDescriptors(const http::ServerOptions& options) {
  constexpr rlim_t kOthers = 256;
  const rlim_t needed = options.threads + options.idle_connections_max + kOthers;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed) {
    return;
  }
  limit.rlim_cur = std::min(needed, limit.rlim_max);
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < needed) {
    LOG(WARNING) << absl::StrFormat(
        "%d descriptors may be open, %d are wanted for all connections; raise the hard limit "
        "(ulimit -Hn, LimitNOFILE)",
        limit.rlim_cur,
        needed);
  }
}

// Empty: as the checkpoint's folder says.
std::optional<engine::text::EncodingProfile> EncodingOf(engine::config::EncodingProfile profile) {
  switch (profile) {
    case engine::config::EncodingProfile::kAuto:
      return std::nullopt;
    case engine::config::EncodingProfile::kPreview:
      return engine::text::EncodingProfile::kPreview;
    case engine::config::EncodingProfile::k0731:
      return engine::text::EncodingProfile::k0731;
  }
  return std::nullopt;
}

absl::StatusOr<std::unique_ptr<api::ModelCodec>> OpenCodec(const std::string& folder,
                                                           const ClusterConfig& config) {
  const auto declared = EncodingOf(config.model.encoding_profile);
  absl::StatusOr<std::unique_ptr<api::ModelCodec>> codec = api::ModelCodec::Open(folder, declared);
  if (codec.ok()) {
    LOG(INFO) << "encoding profile " << ToString((*codec)->profile())
              << (declared.has_value() ? ", as declared"
                                       : ", by what the checkpoint's folder has in encoding/");
  }
  return codec;
}

// Until a signal (OK) or the end of the engine (why). Tells who started this process that it
// answers and lives: whether the cluster can serve is for clients, who ask the API.
absl::Status WaitForEnd(const cluster::EngineLoop& loop,
                        engine::ServiceNotifier notifier,
                        engine::StopSignal& stop) {
  bool was_ready = false;
  const engine::Time began = std::chrono::steady_clock::now();
  while (!stop.WaitUntil(std::chrono::steady_clock::now() + kPollInterval)) {
    RETURN_IF_ERROR(loop.failure());
    if (was_ready && !notifier.is_wanted()) {
      continue;
    }
    const api::EngineReadiness readiness = loop.Readiness();
    const std::string state(EngineStateName(readiness.state));
    notifier.Status(readiness.detail.empty() ? state : state + ": " + readiness.detail);
    notifier.Ready();
    notifier.Alive(std::chrono::steady_clock::now());
    if (!was_ready && readiness.state == api::EngineState::kReady) {
      was_ready = true;
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
      LOG(INFO) << absl::StrFormat("ready %.2f s after the API began to listen", took.count());
      for (const api::StartUpPhase& phase : loop.Status().phases) {
        LOG(INFO) << absl::StrFormat("start-up: %-28s %7.2f s", phase.name, phase.seconds);
      }
    }
  }
  return absl::OkStatus();
}

// Lets the requests in flight end, not only the engine's part of them: tokens that the engine has
// made still have to reach their clients. A second signal ends the wait.
void Drain(http::Service& service, engine::StopSignal& stop) {
  service.BeginDrain();
  const engine::Time deadline = std::chrono::steady_clock::now() + kDrainTimeout;
  while (service.requests_in_flight() > 0 && std::chrono::steady_clock::now() < deadline &&
         !stop.WaitUntil(std::chrono::steady_clock::now() + kPollInterval)) {
  }
  service.AbortRunning();
}

absl::Status Run(const std::string& file, engine::StopSignal& stop) {
  Phases phases;
  ASSIGN_OR_RETURN(const ClusterConfig config, engine::config::ReadClusterConfig(file));
  RETURN_IF_ERROR(CheckSupported(config));
  const NodeConfig& node = HeadNode(config);
  RETURN_IF_ERROR(engine::config::CheckControlPin(node));
  ASSIGN_OR_RETURN(std::vector<std::string> keys, ReadApiKeys(config.api.keys_file));
  phases.Finish("configuration");
  const std::string& path = node.model_path.empty() ? config.model.path : node.model_path;
  ASSIGN_OR_RETURN(const auto checkpoint, engine::weights::Checkpoint::Open(path));
  ASSIGN_OR_RETURN(api::ServedModel model, MakeServedModel(config, *checkpoint));
  phases.Finish("head: checkpoint headers");
  ASSIGN_OR_RETURN(const auto codec, OpenCodec(path, config));
  model.encoding_profile = ToString(codec->profile());
  phases.Finish("head: tokenizer");

  ASSIGN_OR_RETURN(
      const engine::draft::DrafterKind drafter,
      engine::draft::ChooseDrafter(checkpoint->shape(), ToString(config.EffectiveDraft())));
  const int draft_block = engine::draft::BlockOf(checkpoint->shape(), drafter);
  ASSIGN_OR_RETURN(const std::uint64_t checkpoint_hash, CheckpointHash(*checkpoint));
  ASSIGN_OR_RETURN(cluster::GrpcLinksOptions links_options, LinksOptions(config));
  std::vector<ExaminedNode> examined = ExaminedNodes(config, node, links_options);
  ASSIGN_OR_RETURN(auto links, cluster::GrpcLinks::Create(std::move(links_options)));
  const auto cluster = std::make_unique<cluster::RemoteCluster>(
      ClusterOptions(config, checkpoint_hash, checkpoint->shape().vocabulary, draft_block),
      std::move(links));
  cluster::EngineLoopOptions loop_options = LoopOptions(config);
  loop_options.draft_mode = std::string(ToString(drafter));
  ASSIGN_OR_RETURN(const auto interfaces, OwnInterfaces::Watch(config, node));
  FailureExaminer examiner(std::move(examined), kExamineAgain);
  loop_options.on_epoch_lost = [&examiner](engine::Epoch epoch) { examiner.Begin(epoch.value()); };
  loop_options.describe_cluster = [&, head = phases.finished()](api::EngineStatus* status) {
    status->ranks = cluster->Ranks();
    status->head_node = node.name;
    status->head_interfaces = interfaces->Status();
    if (status->last_failure.has_value()) {
      examiner.Describe(&*status->last_failure);
    }
    status->phases = head;
    for (api::StartUpPhase& phase : cluster->LoadingPhases()) {
      phase.name = "slowest rank: " + phase.name;
      status->phases.push_back(std::move(phase));
    }
    cluster::JudgeReadiness(status);
  };
  const engine::SteadyClock clock;
  cluster::EngineLoop loop(std::move(loop_options), *cluster, clock);
  status::Metrics metrics(model.context_length);
  http::ServiceOptions service_options;
  service_options.api_keys = std::move(keys);
  service_options.version = SPARKSPAN_VERSION;
  service_options.allowed_origins = config.api.allowed_origins;
  service_options.keep_alive_interval = std::chrono::milliseconds(config.api.keep_alive_ms);
  http::Service service(model, std::move(service_options), *codec, loop, metrics, clock);
  const http::ServerOptions server_options = HttpOptions(config);
  AllowDescriptors(server_options);
  ASSIGN_OR_RETURN(const auto server,
                   http::Server::Start(server_options,
                                       [&](const http::HttpRequest& request,
                                           const http::Connection& client,
                                           bool is_overloaded) {
                                         return service.Handle(request, client, is_overloaded);
                                       }));
  LOG(INFO) << absl::StrFormat(
      "serving %s at http://%s:%d/v1", model.names[0], config.api.address, server->port());
  const absl::Status ended = WaitForEnd(loop, engine::ServiceNotifier::FromEnvironment(), stop);
  if (ended.ok()) {
    LOG(INFO) << "stopping: running requests may end";
    Drain(service, stop);
  }
  stop.Release();  // What follows is soon over; who cannot wait for it need not.
  cluster->Stop();
  loop.Stop();
  cluster->Goodbye();
  server->Stop();
  return ended;
}

int Main(std::span<const std::string_view> args) {
  if (args.size() == 1 && args[0] == "--help") {
    std::cerr << kUsage;
    return 0;
  }
  if (args.size() == 1 && args[0] == "--version") {
    std::cerr << "sparkspan-head " << SPARKSPAN_VERSION << "\n";
    return 0;
  }
  if (args.size() != 2 || args[0] != "--cluster") {
    std::cerr << kUsage;
    return 2;
  }
  engine::identity::AllowTls13Only();
  engine::SetLogIdentity("sparkspan-head", "");
  engine::StopSignal stop;
  const absl::Status status = Run(std::string(args[1]), stop);
  if (!status.ok()) {
    LOG(ERROR) << status.message();
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace sparkspan::head

int main(int argc, char** argv) {
  const std::vector<std::string_view> args(argv + (argc > 0 ? 1 : 0), argv + argc);
  return sparkspan::head::Main(args);
}
