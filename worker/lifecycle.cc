#include "worker/lifecycle.h"

#include <sys/utsname.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/process_memory.h"
#include "engine/base/status.h"
#include "engine/collective/tcp_communicator.h"
#include "engine/config/check_supported.h"
#include "engine/config/node_pins.h"
#include "engine/draft/choose_drafter.h"
#include "engine/draft/make_drafter.h"
#include "engine/model/bind_weights.h"
#include "engine/model/memory_plan.h"
#include "engine/runtime/epoch_communicator.h"
#include "engine/runtime/rank_model.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/checkpoint_hash.h"
#include "engine/weights/host_memory.h"
#include "engine/weights/rank_weights.h"

namespace sparkspan::worker {
namespace {

using engine::Rank;
using engine::collective::TcpCommunicator;
using engine::collective::TcpListener;
using engine::config::ClusterConfig;
using engine::config::NodeConfig;
using engine::config::RankConfig;
using engine::model::MemoryDemand;
using engine::model::MemoryPlan;

constexpr std::int32_t kReaderThreads = 2;
// Between two looks whether there is memory by now.
constexpr std::chrono::seconds kMemoryInterval{1};

double SecondsSince(engine::Time begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

const RankConfig& ConfigOf(const NodeConfig& node, Rank rank) {
  return *std::find_if(
      node.ranks.begin(), node.ranks.end(), [&](const auto& one) { return one.rank == rank; });
}

std::string MachineArchitecture() {
  utsname names{};
  uname(&names);
  return names.machine;
}

void LogLines(std::string_view prefix, const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    LOG(INFO) << prefix << line;
  }
}

kernels::numerics::NumericsProfile ProfileOf(const ClusterConfig& config) {
  return config.numerics == engine::config::Numerics::kQuantised ? kernels::numerics::kQuantised
                                                                 : kernels::numerics::kUnquantised;
}

}  // namespace

// What is loaded, how, and the memory that it takes.
struct Lifecycle::LoadPlan {
  engine::weights::RankShare share;
  engine::weights::LoadOptions load;
  engine::model::ModelOptions model;
  engine::draft::DrafterKind drafter;
  MemoryDemand demand;
  MemoryPlan memory;
};

absl::StatusOr<std::unique_ptr<Lifecycle>> Lifecycle::Start(ClusterConfig config, Rank rank) {
  if (rank.value() < 0 || rank.value() >= config.ranks()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--rank %d: cluster.yaml has ranks 0 to %d", rank.value(), config.ranks() - 1));
  }
  const NodeConfig& node = NodeOf(config, rank);
  RETURN_IF_ERROR(CheckSupported(config));
  RETURN_IF_ERROR(engine::config::CheckControlPin(node));
  RETURN_IF_ERROR(engine::config::CheckBootstrapPin(node));
  const std::string& path = node.model_path.empty() ? config.model.path : node.model_path;
  ASSIGN_OR_RETURN(auto checkpoint, engine::weights::Checkpoint::Open(path));
  ASSIGN_OR_RETURN(const std::uint64_t checkpoint_hash, CheckpointHash(*checkpoint));
  std::unique_ptr<Lifecycle> lifecycle(
      new Lifecycle(std::move(config), rank, std::move(checkpoint), checkpoint_hash));
  RETURN_IF_ERROR(lifecycle->WatchInterfaces());
  if (lifecycle->interfaces_->fault().empty()) {
    RETURN_IF_ERROR(lifecycle->ListenForPeers());  // A port that is taken shows before loading.
  }
  lifecycle->WatchMemory();
  lifecycle->loader_ = engine::Thread("loader", [own = lifecycle.get()] { own->RunLoader(); });
  return lifecycle;
}

Lifecycle::Lifecycle(ClusterConfig config,
                     Rank rank,
                     std::shared_ptr<const engine::weights::Checkpoint> checkpoint,
                     std::uint64_t checkpoint_hash)
    : config_(std::move(config)),
      node_(NodeOf(config_, rank)),
      rank_config_(ConfigOf(node_, rank)),
      profile_(ProfileOf(config_)),
      checkpoint_(std::move(checkpoint)),
      communicator_(rank, config_.ranks()),
      started_(std::chrono::steady_clock::now()) {
  identity_.rank = rank;
  identity_.config_hash = Hash(config_);
  identity_.checkpoint_hash = checkpoint_hash;
  identity_.numerics_hash = profile_.Hash();
  identity_.architecture = MachineArchitecture();
  identity_.simd_target = engine::model::VectorInstructionsOf(engine::model::Device::kCpu);
  identity_.device = absl::StrFormat(
      "cpu, %d threads, %s", rank_config_.device.cpu_threads, identity_.simd_target);
  progress_.phases.push_back({"checkpoint headers", checkpoint_->open_seconds()});
}

Lifecycle::~Lifecycle() {
  stop_loading_.request_stop();
  loader_.Join();
}

absl::Status Lifecycle::ListenForPeers() {
  const absl::StatusOr<engine::fabric::VerifiedPin> pin = engine::config::VerifyBootstrapPin(node_);
  if (!pin.ok()) {
    // Peers on this machine need no link.
    return listener_.has_value() ? absl::OkStatus() : pin.status();
  }
  if (listener_.has_value() && pin->interface_index == listener_interface_) {
    return absl::OkStatus();
  }
  const auto local_peers = node_.ranks.size() > 1 || node_.bootstrap.address.IsLoopback()
                               ? engine::fabric::LocalPeers::kSome
                               : engine::fabric::LocalPeers::kNone;
  listener_.reset();  // It may hold the port.
  ASSIGN_OR_RETURN(listener_,
                   TcpListener::Open(node_.bootstrap, rank_config_.data_port, local_peers));
  listener_interface_ = pin->interface_index;
  return absl::OkStatus();
}

void Lifecycle::WatchMemory() {
  memory_ = std::make_unique<MemoryGuard>(
      config_.EffectiveLimits().memory_reserve_bytes,
      [] { return engine::weights::ReadAvailableMemory(); },
      [this](const std::string& shortage) { Abort(absl::ResourceExhaustedError(shortage)); });
}

absl::Status Lifecycle::WatchInterfaces() {
  ASSIGN_OR_RETURN(interfaces_,
                   engine::fabric::PinMonitor::Start(
                       "/sys",
                       engine::config::PlanePins(config_, node_),
                       [this](const std::string& fault) { Abort(absl::UnavailableError(fault)); }));
  return absl::OkStatus();
}

void Lifecycle::SetGroup(std::shared_ptr<TcpCommunicator> group) {
  {
    const std::lock_guard lock(mutex_);
    group_ = group;
  }
  communicator_.Replace(std::move(group));
}

FabricReport Lifecycle::Fabric() const {
  FabricReport report;
  report.interfaces = interfaces_->Sample();
  std::shared_ptr<const TcpCommunicator> group;
  {
    const std::lock_guard lock(mutex_);
    group = group_;
  }
  if (group != nullptr) {
    report.peers = group->Traffic();
  }
  return report;
}

engine::collective::Communicator* Lifecycle::GroupCommunicator() {
  return config_.ranks() == 1 ? nullptr : &communicator_;
}

LoadProgress Lifecycle::WaitForLoading(engine::Time deadline) const {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [&] { return progress_.loaded || !progress_.failure.ok(); });
  LoadProgress progress = progress_;
  progress.seconds = SecondsSince(started_);
  return progress;
}

bool Lifecycle::WaitUntilLoaded(engine::Time deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [&] { return progress_.loaded; });
}

absl::StatusOr<std::vector<PeerPath>> Lifecycle::BeginEpoch(engine::Epoch epoch,
                                                            const std::string& session_key,
                                                            const std::atomic<bool>& over) {
  std::vector<PeerPath> paths;
  SetGroup(nullptr);
  if (config_.ranks() > 1) {
    ASSIGN_OR_RETURN(engine::collective::TcpOptions options, GroupOptions(epoch, session_key));
    RETURN_IF_ERROR(ListenForPeers());
    const auto group = std::make_shared<TcpCommunicator>(std::move(options));
    // First, so that Abort reaches the connecting group.
    SetGroup(group);
    if (over) {
      return absl::CancelledError("the epoch ended before its group was formed");
    }
    RETURN_IF_ERROR(group->Connect(*listener_));
    for (const engine::collective::PeerTraffic& peer : group->Traffic()) {
      paths.push_back({peer.rank,
                       engine::fabric::ToString(peer.path.local),
                       peer.path.interface,
                       std::string(engine::fabric::ToString(peer.path.binding))});
    }
  }
  executor_->Reset(epoch);
  return paths;
}

absl::StatusOr<engine::runtime::StepResult> Lifecycle::Run(const engine::runtime::StepPlan& plan) {
  // The model's own call comes after this one and says the same; a single rank has no other.
  communicator_.BeginStep({plan.epoch, plan.step});
  absl::StatusOr<engine::runtime::StepResult> result = executor_->Run(plan);
  if (result.ok()) {
    communicator_.FinishStep();
  }
  return result;
}

// The phase before is done.
void Lifecycle::EnterPhase(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (!progress_.phase.empty()) {
    progress_.phases.push_back({progress_.phase, SecondsSince(phase_began_)});
  }
  progress_.phase = name;
  phase_began_ = std::chrono::steady_clock::now();
}

void Lifecycle::Publish(const absl::Status& failure, bool is_loaded) {
  {
    const std::lock_guard lock(mutex_);
    progress_.failure = failure;
    progress_.loaded = is_loaded;
  }
  changed_.notify_all();
}

void Lifecycle::RunLoader() {
  const absl::Status status = Load();
  if (!status.ok() && !stop_loading_.stop_requested()) {
    LOG(ERROR) << "loading failed: " << status.message();
  }
  Publish(status, /*is_loaded=*/status.ok());
}

absl::StatusOr<Lifecycle::LoadPlan> Lifecycle::Plan(bool is_again) const {
  const engine::config::Limits& limits = config_.EffectiveLimits();
  const engine::weights::RankShare share{identity_.rank.value(),
                                         config_.ranks(),
                                         config_.experts == engine::config::Experts::kWhole,
                                         engine::weights::WidthUnitOf(profile_)};
  engine::weights::LoadOptions load;
  load.reader_threads = kReaderThreads;
  load.stop = stop_loading_.get_token();
  ASSIGN_OR_RETURN(
      const engine::draft::DrafterKind drafter,
      engine::draft::ChooseDrafter(checkpoint_->shape(), ToString(config_.EffectiveDraft())));
  load.draft = drafter != engine::draft::DrafterKind::kNone;
  engine::model::ModelOptions model;
  model.numerics = profile_;
  model.threads = rank_config_.device.cpu_threads;
  const int block = engine::draft::BlockOf(checkpoint_->shape(), drafter);
  model.rewind_rows_max = block == 0 ? 0 : block + 1;
  ASSIGN_OR_RETURN(const MemoryDemand demand, FindDemand(share, model, load));
  ASSIGN_OR_RETURN(MemoryPlan memory,
                   engine::model::PlanMemory(checkpoint_->shape(), share, model, load, demand));
  ASSIGN_OR_RETURN(const engine::weights::AvailableMemory available,
                   engine::weights::ReadAvailableMemory());
  const absl::Status fits =
      engine::model::CheckMemory(memory, demand, available, limits.memory_reserve_bytes);
  if (fits.ok() || !is_again) {
    LogLines("memory: ", memory.Text());
  }
  RETURN_IF_ERROR(fits);
  return LoadPlan{share, load, model, drafter, demand, std::move(memory)};
}

absl::StatusOr<Lifecycle::LoadPlan> Lifecycle::PlanOnceThereIsMemory() {
  for (bool is_again = false;; is_again = true) {
    absl::StatusOr<LoadPlan> plan = Plan(is_again);
    if (!absl::IsResourceExhausted(plan.status()) || stop_loading_.stop_requested()) {
      return plan;
    }
    if (!is_again) {
      LOG(ERROR) << "loading waits for memory: " << plan.status().message();
    }
    Publish(plan.status(), /*is_loaded=*/false);
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop_loading_.get_token(), kMemoryInterval, [] { return false; });
  }
}

absl::Status Lifecycle::Load() {
  EnterPhase("memory plan");
  ASSIGN_OR_RETURN(const LoadPlan plan, PlanOnceThereIsMemory());
  Publish(absl::OkStatus(), /*is_loaded=*/false);

  EnterPhase("weights");
  ASSIGN_OR_RETURN(const auto weights,
                   engine::weights::LoadRank(*checkpoint_, plan.share, plan.load));
  LOG(INFO) << weights->report().Text();
  EnterPhase("model and KV pool");
  engine::runtime::RankModel bound;
  ASSIGN_OR_RETURN(bound.model,
                   engine::model::Model::Create(
                       engine::model::BindWeights(*weights), plan.model, GroupCommunicator()));
  ASSIGN_OR_RETURN(bound.drafter,
                   engine::draft::MakeDrafter(
                       *weights, {.kind = plan.drafter}, plan.model, GroupCommunicator()));
  engine::runtime::ExecutorOptions executor;
  executor.kv_blocks = static_cast<std::int32_t>(plan.demand.kv_blocks);
  executor.sequences_max = static_cast<std::int32_t>(plan.demand.sequences);
  executor.step_rows_max = plan.demand.step_rows;
  ASSIGN_OR_RETURN(
      executor_,
      engine::runtime::Executor::Create(std::move(bound), GroupCommunicator(), executor, &clock_));
  EnterPhase("");
  const std::lock_guard lock(mutex_);
  progress_.weights_bytes = plan.memory.loaded();
  progress_.kv_bytes = plan.memory.kv_pool;
  progress_.kv_blocks = executor.kv_blocks;
  progress_.resident_bytes = engine::ResidentBytes();
  LOG(INFO) << absl::StrFormat(
      "loaded in %.2f s, %d MiB resident", SecondsSince(started_), progress_.resident_bytes >> 20);
  return absl::OkStatus();
}

absl::StatusOr<MemoryDemand> Lifecycle::FindDemand(const engine::weights::RankShare& share,
                                                   const engine::model::ModelOptions& model,
                                                   const engine::weights::LoadOptions& load) const {
  const engine::config::Limits& limits = config_.EffectiveLimits();
  MemoryDemand demand;
  demand.sequences = limits.sequences;
  demand.step_rows = limits.step_rows;
  demand.kv_blocks = 1;
  if (limits.kv_tokens.has_value()) {
    demand.kv_blocks = engine::cache::KvPool::BlocksFor(*limits.kv_tokens);
    return demand;
  }
  ASSIGN_OR_RETURN(const MemoryPlan least,
                   engine::model::PlanMemory(checkpoint_->shape(), share, model, load, demand));
  std::int64_t room = 0;
  if (limits.kv_memory_bytes.has_value()) {
    room = *limits.kv_memory_bytes;
  } else {
    ASSIGN_OR_RETURN(const engine::weights::AvailableMemory available,
                     engine::weights::ReadAvailableMemory());
    // Ranks of one node start together and share what is there.
    room = (available.bytes - limits.memory_reserve_bytes) /
               static_cast<std::int64_t>(node_.ranks.size()) -
           (least.peak() - least.kv_pool);
  }
  // More than all sequences at full length would never be used.
  const std::int64_t useful =
      limits.sequences * engine::cache::KvPool::BlocksFor(limits.context_length);
  const std::int64_t blocks = least.kv_pool == 0 ? useful : room / least.kv_pool;
  demand.kv_blocks = std::clamp<std::int64_t>(blocks, 1, useful);
  return demand;
}

absl::StatusOr<engine::collective::TcpOptions> Lifecycle::GroupOptions(
    engine::Epoch epoch, const std::string& session_key) const {
  engine::collective::TcpOptions options;
  options.rank = identity_.rank;
  options.endpoints = DataEndpoints(config_);
  options.interface = node_.bootstrap.interface;
  options.epoch = epoch;
  options.config_hash = identity_.config_hash;
  options.exchange_timeout = std::chrono::milliseconds(config_.timeouts.step_ms);
  options.silence_limit = std::chrono::milliseconds(config_.timeouts.silence_ms);
  if (session_key.size() != options.key.size()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "a session key of %d bytes, expected %d", session_key.size(), options.key.size()));
  }
  std::memcpy(options.key.data(), session_key.data(), session_key.size());
  return options;
}

}  // namespace sparkspan::worker
