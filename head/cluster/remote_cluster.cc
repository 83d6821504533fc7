#include "head/cluster/remote_cluster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "head/cluster/session_key.h"

namespace sparkspan::head::cluster {
namespace {

using engine::Rank;
using engine::runtime::StepResult;

constexpr std::size_t kEventsPerWorker = 64;
constexpr std::size_t kPlansInFlightMax = 2;
constexpr std::chrono::milliseconds kReconnectPause{200};
constexpr std::chrono::milliseconds kEventSlice{100};

engine::Time Now() {
  return std::chrono::steady_clock::now();
}

}  // namespace

absl::StatusOr<std::unique_ptr<RemoteCluster>> RemoteCluster::Create(RemoteClusterOptions options) {
  std::unique_ptr<RemoteCluster> cluster(new RemoteCluster(std::move(options)));
  for (const WorkerEndpoint& worker : cluster->options_.workers) {
    ASSIGN_OR_RETURN(cluster->workers_[static_cast<std::size_t>(worker.rank.value())].relay,
                     PinnedRelay::Start(cluster->options_.control, worker.control));
  }
  return cluster;
}

RemoteCluster::RemoteCluster(RemoteClusterOptions options)
    : options_(std::move(options)),
      workers_(options_.workers.size()),
      ended_(absl::UnavailableError("no group has been formed")),
      shape_(options_.shape) {
  for (const WorkerEndpoint& worker : options_.workers) {
    api::RankStatus status;
    status.rank = worker.rank.value();
    status.node = worker.node;
    status.address = engine::fabric::ToString(worker.control);
    status.state = "connecting";
    ranks_.push_back(std::move(status));
  }
}

RemoteCluster::~RemoteCluster() = default;

engine::runtime::ClusterShape RemoteCluster::Shape() const {
  const std::lock_guard lock(mutex_);
  return shape_;
}

std::string RemoteCluster::NameOf(Rank rank) const {
  const WorkerEndpoint& worker = options_.workers[static_cast<std::size_t>(rank.value())];
  return absl::StrFormat(
      "rank %d (node %s, %s)", rank.value(), worker.node, engine::fabric::ToString(worker.control));
}

void RemoteCluster::SetState(Rank rank, std::string state, std::string detail) {
  const std::lock_guard lock(mutex_);
  api::RankStatus& status = ranks_[static_cast<std::size_t>(rank.value())];
  status.state = std::move(state);
  status.detail = std::move(detail);
}

absl::Status RemoteCluster::LostStatus(Rank rank, const LinkEnd& end) {
  SetState(rank, "lost", std::string(end.why.message()));
  return absl::UnavailableError(absl::StrFormat("%s is lost: %s", NameOf(rank), end.why.message()));
}

absl::Status RemoteCluster::EndEpoch(absl::Status why) {
  ended_ = why;
  return why;
}

absl::Status RemoteCluster::Submit(const engine::runtime::StepPlan& plan) {
  RETURN_IF_ERROR(ended_);
  if (in_flight_.size() >= kPlansInFlightMax) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%d plans are in flight already", in_flight_.size()));
  }
  in_flight_.push_back(plan.step);
  for (Worker& worker : workers_) {
    const absl::Status sent = worker.link->SendPlan(plan);
    if (!sent.ok()) {
      // The link's end, which Collect meets, has the reason.
      LOG(WARNING) << sent.message();
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<StepResult> RemoteCluster::Collect(engine::Time deadline) {
  RETURN_IF_ERROR(ended_);
  if (in_flight_.empty()) {
    return absl::FailedPreconditionError("no plan is in flight");
  }
  const auto has_result = [](const Worker& worker) { return !worker.results.empty(); };
  while (!std::all_of(workers_.begin(), workers_.end(), has_result)) {
    const engine::Time now = Now();
    if (stopping_) {
      return EndEpoch(absl::CancelledError("the head is stopping"));
    }
    if (now >= deadline) {
      return absl::DeadlineExceededError(absl::StrFormat("step %d was not answered in time by %s",
                                                         in_flight_.front().value(),
                                                         RanksWithoutResult()));
    }
    std::optional<LinkEvent> event =
        events_->Pop(std::min<engine::Time>(deadline, now + kEventSlice));
    if (event.has_value()) {
      RETURN_IF_ERROR(TakeServingEvent(*std::move(event)));
    }
  }
  in_flight_.pop_front();
  std::vector<StepResult> results;
  for (Worker& worker : workers_) {
    results.push_back(std::move(worker.results.front()));
    worker.results.pop_front();
  }
  absl::StatusOr<StepResult> agreed = engine::runtime::AgreeResults(results);
  if (!agreed.ok()) {
    return EndEpoch(agreed.status());
  }
  return agreed;
}

absl::Status RemoteCluster::TakeServingEvent(LinkEvent event) {
  if (const auto* end = std::get_if<LinkEnd>(&event.what)) {
    return EndEpoch(LostStatus(event.rank, *end));
  }
  Worker& worker = workers_[static_cast<std::size_t>(event.rank.value())];
  auto* result = std::get_if<StepResult>(&event.what);
  const bool expected = result != nullptr && worker.results.size() < in_flight_.size() &&
                        result->rank == event.rank && result->epoch == epoch_ &&
                        result->step == in_flight_[worker.results.size()];
  if (!expected) {
    return EndEpoch(absl::InternalError(
        absl::StrFormat("%s said something that nothing in flight asks for", NameOf(event.rank))));
  }
  worker.results.push_back(std::move(*result));
  return absl::OkStatus();
}

std::string RemoteCluster::RanksWithoutResult() const {
  std::string names;
  for (const WorkerEndpoint& endpoint : options_.workers) {
    if (workers_[static_cast<std::size_t>(endpoint.rank.value())].results.empty()) {
      names += (names.empty() ? "" : ", ") + NameOf(endpoint.rank);
    }
  }
  return names;
}

absl::Status RemoteCluster::Watch() {
  RETURN_IF_ERROR(ended_);
  while (std::optional<LinkEvent> event = events_->TryPop()) {
    RETURN_IF_ERROR(TakeServingEvent(*std::move(event)));
  }
  return absl::OkStatus();
}

absl::Status RemoteCluster::Reform(engine::Epoch next, engine::Time deadline) {
  ended_ = absl::UnavailableError("no group has been formed");
  for (Worker& worker : workers_) {
    worker.link.reset();
    worker.identity.reset();
    worker.loaded.reset();
    worker.formed = false;
    worker.results.clear();
    worker.retry_at = {};
  }
  in_flight_.clear();
  epoch_ = next;
  events_ = std::make_shared<LinkEvents>(kEventsPerWorker * Count());
  RETURN_IF_ERROR(Form(
      next, [](const Worker& worker) { return worker.loaded.has_value(); }, deadline));
  RETURN_IF_ERROR(CheckAgreement());
  const std::string key = NewSessionKey();
  for (Worker& worker : workers_) {
    RETURN_IF_ERROR(worker.link->SendFormGroup(key));
  }
  RETURN_IF_ERROR(Form(
      next, [](const Worker& worker) { return worker.formed; }, deadline));
  {
    const std::lock_guard lock(mutex_);
    shape_.epoch = epoch_;
    // The smallest rank decides.
    shape_.kv_blocks = workers_[0].loaded->kv_blocks;
    for (const Worker& worker : workers_) {
      shape_.kv_blocks = std::min(shape_.kv_blocks, worker.loaded->kv_blocks);
    }
  }
  LOG(INFO) << "epoch " << next << ": " << Count() << " ranks formed a group";
  ended_ = absl::OkStatus();
  return absl::OkStatus();
}

void RemoteCluster::OpenMissingLinks(engine::Epoch epoch) {
  for (const WorkerEndpoint& endpoint : options_.workers) {
    Worker& worker = workers_[static_cast<std::size_t>(endpoint.rank.value())];
    if (worker.link != nullptr || Now() < worker.retry_at) {
      continue;
    }
    LinkOptions link;
    link.rank = endpoint.rank;
    link.epoch = epoch;
    link.target = worker.relay->target();
    link.program_version = options_.program_version;
    link.config_hash = options_.config_hash;
    link.connect_timeout = options_.connect_timeout;
    link.events = events_;
    worker.link = std::make_unique<WorkerLink>(std::move(link));
  }
}

absl::Status RemoteCluster::Form(engine::Epoch epoch,
                                 bool (*done)(const Worker&),
                                 engine::Time deadline) {
  while (!std::all_of(workers_.begin(), workers_.end(), done)) {
    if (stopping_) {
      return absl::CancelledError("the head is stopping");
    }
    if (Now() >= deadline) {
      return absl::DeadlineExceededError(
          "the ranks did not form a group in time; /status says what each is waiting for");
    }
    OpenMissingLinks(epoch);
    std::optional<LinkEvent> event = events_->Pop(Now() + kEventSlice);
    if (event.has_value()) {
      RETURN_IF_ERROR(TakeFormingEvent(*std::move(event)));
    } else {
      DescribeUnreached();
    }
  }
  return absl::OkStatus();
}

void RemoteCluster::DescribeUnreached() {
  for (const WorkerEndpoint& endpoint : options_.workers) {
    const Worker& worker = workers_[static_cast<std::size_t>(endpoint.rank.value())];
    const auto path = worker.relay->path();
    if (!worker.identity.has_value() && !path.ok()) {
      SetState(endpoint.rank, "connecting", std::string(path.status().message()));
    }
  }
}

absl::Status RemoteCluster::TakeFormingEvent(LinkEvent event) {
  return std::visit([&](const auto& what) { return TakeForming(event.rank, what); }, event.what);
}

absl::Status RemoteCluster::TakeForming(Rank rank, const WorkerIdentity& identity) {
  Worker& worker = workers_[static_cast<std::size_t>(rank.value())];
  worker.identity = identity;
  if (const auto path = worker.relay->path(); path.ok()) {
    LOG(INFO) << NameOf(rank) << " is reached from " << engine::fabric::ToString(path->local)
              << " by " << path->interface << ", bound by "
              << engine::fabric::ToString(path->binding);
  }
  {
    const std::lock_guard lock(mutex_);
    api::RankStatus& status = ranks_[static_cast<std::size_t>(rank.value())];
    status.device = identity.device;
    status.rails.clear();
    if (const auto path = worker.relay->path(); path.ok()) {
      status.rails.push_back({"control",
                              "head",
                              path->interface,
                              engine::fabric::ToString(path->local),
                              std::string(engine::fabric::ToString(path->binding))});
    }
  }
  SetState(rank, "loading", "");
  return absl::OkStatus();
}

absl::Status RemoteCluster::TakeForming(Rank rank, const WorkerLoading& loading) {
  SetState(rank, "loading", absl::StrFormat("%s, %.0f s", loading.phase, loading.seconds));
  return absl::OkStatus();
}

absl::Status RemoteCluster::TakeForming(Rank rank, const WorkerLoaded& loaded) {
  workers_[static_cast<std::size_t>(rank.value())].loaded = loaded;
  SetState(rank, "loaded", "");
  const std::lock_guard lock(mutex_);
  api::RankStatus& status = ranks_[static_cast<std::size_t>(rank.value())];
  status.weights_bytes = loaded.weights_bytes;
  status.kv_bytes = loaded.kv_bytes;
  status.resident_bytes = loaded.resident_bytes;
  for (const WorkerPhase& phase : loaded.phases) {
    const auto known = std::find_if(phases_.begin(), phases_.end(), [&](const auto& other) {
      return other.name == phase.name;
    });
    if (known == phases_.end()) {
      phases_.push_back({phase.name, phase.seconds, true});
    } else {
      known->seconds = std::max(known->seconds, phase.seconds);
    }
  }
  return absl::OkStatus();
}

absl::Status RemoteCluster::TakeForming(Rank rank, const WorkerGroupFormed& formed) {
  for (const WorkerPeer& peer : formed.peers) {
    LOG(INFO) << NameOf(rank) << " reaches rank " << peer.rank << " from " << peer.local_address
              << " by " << peer.interface;
    const std::lock_guard lock(mutex_);
    ranks_[static_cast<std::size_t>(rank.value())].rails.push_back(
        {"data",
         absl::StrFormat("rank %d", peer.rank.value()),
         peer.interface,
         peer.local_address,
         /*binding=*/""});
  }
  workers_[static_cast<std::size_t>(rank.value())].formed = true;
  SetState(rank, "ready", "");
  return absl::OkStatus();
}

absl::Status RemoteCluster::TakeForming(Rank rank, const StepResult&) {
  return absl::InternalError(
      absl::StrFormat("%s answered a step before the group was formed", NameOf(rank)));
}

absl::Status RemoteCluster::TakeForming(Rank rank, const LinkEnd& end) {
  Worker& worker = workers_[static_cast<std::size_t>(rank.value())];
  const bool was_loaded = worker.loaded.has_value();
  const absl::Status lost = LostStatus(rank, end);
  if (end.refused) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s refuses: %s", NameOf(rank), end.why.message()));
  }
  if (was_loaded) {
    return lost;
  }
  // Not up yet, or fell over while loading: whoever starts it again is awaited.
  worker.link.reset();
  worker.identity.reset();
  worker.retry_at = Now() + kReconnectPause;
  SetState(rank, "connecting", std::string(end.why.message()));
  return absl::OkStatus();
}

absl::Status RemoteCluster::CheckAgreement() const {
  const WorkerIdentity& first = *workers_[0].identity;
  for (std::size_t rank = 0; rank < Count(); ++rank) {
    const WorkerIdentity& own = *workers_[rank].identity;
    std::string difference;
    const auto compare = [&](std::string_view what, const auto& a, const auto& b) {
      if (a != b) {
        difference += absl::StrFormat("%s%s", difference.empty() ? "" : ", ", what);
      }
    };
    compare("checkpoint", first.checkpoint_hash, own.checkpoint_hash);
    compare("numerics", first.numerics_hash, own.numerics_hash);
    compare("architecture", first.architecture, own.architecture);
    compare("vector instructions", first.simd_target, own.simd_target);
    if (!difference.empty()) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "%s and %s differ in: %s. Ranks of one cluster must agree; checkpoint: compare the "
          "files; architecture and vector instructions: use machines of one kind",
          NameOf(Rank(0)),
          NameOf(Rank(static_cast<std::int32_t>(rank))),
          difference));
    }
  }
  return absl::OkStatus();
}

void RemoteCluster::Goodbye() {
  for (Worker& worker : workers_) {
    if (worker.link != nullptr) {
      worker.link->SendGoodbye();
    }
  }
}

std::vector<api::RankStatus> RemoteCluster::Ranks() const {
  const std::lock_guard lock(mutex_);
  return ranks_;
}

std::vector<api::StartUpPhase> RemoteCluster::LoadingPhases() const {
  const std::lock_guard lock(mutex_);
  return phases_;
}

}  // namespace sparkspan::head::cluster
