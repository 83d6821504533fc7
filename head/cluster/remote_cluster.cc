#include "head/cluster/remote_cluster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "head/cluster/rank_agreement.h"
#include "head/cluster/session_key.h"

namespace sparkspan::head::cluster {
namespace {

using engine::Rank;
using engine::runtime::StepResult;

constexpr std::size_t kPlansInFlightMax = 2;
constexpr std::chrono::milliseconds kReconnectPause{200};
// The streams are looked at this often in a limit of silence, and between signs of life.
constexpr int kLooksPerLimit = 40;
constexpr const char* kControlPlane = "control";
constexpr const char* kDataPlane = "data";

std::string PeerName(Rank rank) {
  return absl::StrFormat("rank %d", rank.value());
}

}  // namespace

RemoteCluster::RemoteCluster(RemoteClusterOptions options, std::unique_ptr<WorkerLinks> links)
    : options_(std::move(options)),
      links_(std::move(links)),
      workers_(options_.workers.size()),
      ended_(absl::UnavailableError("no group has been formed")),
      forming_(Count(), options_.silence_limit),
      detector_(Names(), options_.silence_limit),
      meters_(Count()),
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

std::vector<std::string> RemoteCluster::Names() const {
  std::vector<std::string> names;
  for (const WorkerEndpoint& worker : options_.workers) {
    names.push_back(NameOf(worker.rank));
  }
  return names;
}

void RemoteCluster::SetState(Rank rank, std::string state, std::string detail) {
  const std::lock_guard lock(mutex_);
  api::RankStatus& status = ranks_[static_cast<std::size_t>(rank.value())];
  status.state = std::move(state);
  status.detail = std::move(detail);
}

void RemoteCluster::Beat() {
  const engine::Time now = links_->Now();
  if (now < beat_at_) {
    return;
  }
  beat_at_ = now + options_.heartbeat_interval;
  for (const WorkerEndpoint& worker : options_.workers) {
    if (links_->IsOpen(worker.rank)) {
      (void)links_->SendHeartbeat(worker.rank);  // A stream that has ended shows as an event.
    }
  }
}

std::optional<LinkEvent> RemoteCluster::NextEvent(engine::Time deadline) {
  Beat();
  const engine::Duration slice = std::min<engine::Duration>(options_.silence_limit / kLooksPerLimit,
                                                            options_.heartbeat_interval / 2);
  std::optional<LinkEvent> event =
      links_->Next(std::min<engine::Time>(deadline, links_->Now() + slice));
  if (event.has_value()) {
    if (auto* end = std::get_if<LinkEnd>(&event->what);
        end != nullptr && end->blamed.has_value() &&
        (end->blamed == event->rank || end->blamed->value() < 0 ||
         static_cast<std::size_t>(end->blamed->value()) >= Count())) {
      end->blamed.reset();  // Nobody of this cluster.
    }
    if (auto* end = std::get_if<LinkEnd>(&event->what); end != nullptr && !end->said) {
      end->why = ReasonOf(event->rank, end->why);
    }
  }
  return event;
}

// gRPC knows that its socket closed; the relay, which closed it, knows that the interface lost its
// link, or that nobody answered.
absl::Status RemoteCluster::ReasonOf(Rank rank, const absl::Status& why) const {
  const auto path = links_->Path(rank);
  return path.ok() ? why : path.status();
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
  for (const WorkerEndpoint& worker : options_.workers) {
    const absl::Status sent = links_->SendPlan(worker.rank, plan);
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
    const engine::Time now = links_->Now();
    if (stopping_) {
      return EndEpoch(absl::CancelledError("the head is stopping"));
    }
    if (now >= deadline) {
      return absl::DeadlineExceededError(
          absl::StrFormat("step %d was not answered in time by %s. Where the ranks are: %s",
                          in_flight_.front().value(),
                          RanksWithoutResult(),
                          detector_.StallReport(now)));
    }
    if (std::optional<LinkEvent> event = NextEvent(deadline)) {
      RETURN_IF_ERROR(TakeServingEvent(*std::move(event)));
    }
    RETURN_IF_ERROR(JudgeRanks());
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
    const std::lock_guard lock(mutex_);
    detector_.End(event.rank, *end, event.time);
    return absl::OkStatus();
  }
  {
    const std::lock_guard lock(mutex_);
    if (const auto* pulse = std::get_if<WorkerPulse>(&event.what)) {
      detector_.Hear(event.rank, pulse->position, event.time);
      return absl::OkStatus();
    }
    if (const auto* fabric = std::get_if<WorkerFabric>(&event.what)) {
      detector_.Hear(event.rank, event.time);
      TakeFabric(event.rank, *fabric);
      return absl::OkStatus();
    }
    if (const auto* result = std::get_if<StepResult>(&event.what)) {
      detector_.HearResult(event.rank, result->step, event.time);
    } else {
      detector_.Hear(event.rank, event.time);
    }
  }
  Worker& worker = At(event.rank);
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

absl::Status RemoteCluster::JudgeRanks() {
  const engine::Time now = links_->Now();
  std::optional<EpochLoss> loss;
  {
    const std::lock_guard lock(mutex_);
    loss = detector_.Judge(now);
  }
  if (!loss.has_value()) {
    MarkSlowOnes(now);
    return absl::OkStatus();
  }
  for (const WorkerEndpoint& endpoint : options_.workers) {
    const auto rank = static_cast<std::size_t>(endpoint.rank.value());
    switch (loss->fates[rank]) {
      case RankFate::kAlive:
        SetState(endpoint.rank, "waiting", loss->details[rank]);
        break;
      case RankFate::kLost:
        workers_[rank].lost_why = loss->details[rank];
        SetState(endpoint.rank, "lost", loss->details[rank]);
        break;
      case RankFate::kFailed:
        SetState(endpoint.rank, "failed", loss->details[rank]);
        break;
    }
  }
  return EndEpoch(absl::UnavailableError(loss->summary));
}

// A rank that the others wait for is named while it still may come; it stays in service.
void RemoteCluster::MarkSlowOnes(engine::Time now) {
  const std::lock_guard lock(mutex_);
  const std::vector<Rank> slow = detector_.Slow(now);
  for (const WorkerEndpoint& endpoint : options_.workers) {
    api::RankStatus& status = ranks_[static_cast<std::size_t>(endpoint.rank.value())];
    if (std::find(slow.begin(), slow.end(), endpoint.rank) != slow.end()) {
      status.state = "slow";
      status.detail = "the other ranks wait for it";
    } else if (status.state == "slow") {
      status.state = "ready";
      status.detail.clear();
    }
  }
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
  while (std::optional<LinkEvent> event = NextEvent(engine::Time::min())) {
    RETURN_IF_ERROR(TakeServingEvent(*std::move(event)));
  }
  return JudgeRanks();
}

absl::Status RemoteCluster::Reform(engine::Epoch next, engine::Time deadline) {
  ended_ = absl::UnavailableError("no group has been formed");
  for (const WorkerEndpoint& endpoint : options_.workers) {
    links_->Close(endpoint.rank);
    Worker& worker = At(endpoint.rank);
    std::string lost_why = std::move(worker.lost_why);
    worker = {};
    worker.lost_why = std::move(lost_why);
  }
  forming_ = engine::SilenceDetector(Count(), options_.silence_limit);
  in_flight_.clear();
  epoch_ = next;
  RETURN_IF_ERROR(Form(
      next, [](const Worker& worker) { return worker.loaded.has_value(); }, deadline));
  RETURN_IF_ERROR(CheckAgreement());
  const std::string key = NewSessionKey();
  for (const WorkerEndpoint& endpoint : options_.workers) {
    At(endpoint.rank).must_form = true;
    SetState(endpoint.rank, "loaded", "waits for its data connections");
    RETURN_IF_ERROR(links_->SendFormGroup(endpoint.rank, key));
  }
  RETURN_IF_ERROR(Form(
      next, [](const Worker& worker) { return worker.formed; }, deadline));
  {
    const std::lock_guard lock(mutex_);
    detector_.Begin(links_->Now());
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
    if (!links_->IsOpen(endpoint.rank) && links_->Now() >= At(endpoint.rank).retry_at) {
      links_->Open(endpoint.rank, epoch);
    }
  }
}

absl::Status RemoteCluster::Form(engine::Epoch epoch,
                                 bool (*done)(const Worker&),
                                 engine::Time deadline) {
  while (!std::all_of(workers_.begin(), workers_.end(), done)) {
    if (stopping_) {
      return absl::CancelledError("the head is stopping");
    }
    if (links_->Now() >= deadline) {
      return absl::DeadlineExceededError(
          absl::StrFormat("the ranks did not form a group in time: %s", Unfinished(done)));
    }
    OpenMissingLinks(epoch);
    if (const std::optional<LinkEvent> event = NextEvent(deadline)) {
      RETURN_IF_ERROR(TakeFormingEvent(*event));
    } else {
      DescribeUnreached();
    }
    RETURN_IF_ERROR(EndSilentOnes());
  }
  return absl::OkStatus();
}

absl::Status RemoteCluster::EndSilentOnes() {
  const engine::Time now = links_->Now();
  for (const std::size_t index : forming_.Silent(now)) {
    const Rank rank(static_cast<std::int32_t>(index));
    LinkEnd end;
    end.why = absl::UnavailableError(
        absl::StrFormat("it has given no sign of life for %.2f s",
                        std::chrono::duration<double>(*forming_.SilentFor(index, now)).count()));
    RETURN_IF_ERROR(TakeForming(rank, end));
  }
  return absl::OkStatus();
}

void RemoteCluster::DescribeUnreached() {
  for (const WorkerEndpoint& endpoint : options_.workers) {
    const Worker& worker = At(endpoint.rank);
    const auto path = links_->Path(endpoint.rank);
    if (worker.identity.has_value() || path.ok()) {
      continue;
    }
    if (worker.lost_why.empty()) {
      SetState(endpoint.rank, "connecting", std::string(path.status().message()));
    } else {
      SetState(endpoint.rank,
               "lost",
               absl::StrFormat(
                   "%s; not reached again yet: %s", worker.lost_why, path.status().message()));
    }
  }
}

std::string RemoteCluster::Unfinished(bool (*done)(const Worker&)) const {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (const WorkerEndpoint& endpoint : options_.workers) {
    if (!done(At(endpoint.rank))) {
      const api::RankStatus& status = ranks_[static_cast<std::size_t>(endpoint.rank.value())];
      text += absl::StrFormat("%s%s is %s%s%s",
                              text.empty() ? "" : "; ",
                              NameOf(endpoint.rank),
                              status.state,
                              status.detail.empty() ? "" : ": ",
                              status.detail);
    }
  }
  return text;
}

absl::Status RemoteCluster::TakeFormingEvent(const LinkEvent& event) {
  if (!std::holds_alternative<LinkEnd>(event.what)) {
    forming_.Hear(static_cast<std::size_t>(event.rank.value()), event.time);
  }
  return std::visit([&](const auto& what) { return TakeForming(event.rank, what); }, event.what);
}

absl::Status RemoteCluster::OutOfPlace(Rank rank, const char* what) const {
  return absl::InternalError(
      absl::StrFormat("%s said %s where the protocol has no place for it: install the same release "
                      "on every node",
                      NameOf(rank),
                      what));
}

absl::Status RemoteCluster::TakeForming(Rank rank, const WorkerIdentity& identity) {
  Worker& worker = At(rank);
  if (worker.identity.has_value()) {
    return OutOfPlace(rank, "who it is");
  }
  worker.identity = identity;
  worker.lost_why.clear();
  if (const auto path = links_->Path(rank); path.ok()) {
    LOG(INFO) << NameOf(rank) << " is reached from " << engine::fabric::ToString(path->local)
              << " by " << path->interface << ", bound by "
              << engine::fabric::ToString(path->binding);
  }
  {
    const std::lock_guard lock(mutex_);
    api::RankStatus& status = ranks_[static_cast<std::size_t>(rank.value())];
    status.device = identity.device;
    status.clock_ahead_seconds = identity.clock_ahead_seconds;
    status.rails.clear();
    if (const auto path = links_->Path(rank); path.ok()) {
      api::RailStatus& rail = status.rails.emplace_back();
      rail.plane = kControlPlane;
      rail.peer = "head";
      rail.interface = path->interface;
      rail.local_address = engine::fabric::ToString(path->local);
      rail.binding = engine::fabric::ToString(path->binding);
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
  Worker& worker = At(rank);
  if (!worker.identity.has_value() || worker.loaded.has_value()) {
    return OutOfPlace(rank, "that it has loaded");
  }
  worker.loaded = loaded;
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
  if (!At(rank).must_form || At(rank).formed) {
    return OutOfPlace(rank, "that it has formed a group");
  }
  for (const WorkerPeer& peer : formed.peers) {
    LOG(INFO) << NameOf(rank) << " reaches rank " << peer.rank << " from " << peer.local_address
              << " by " << peer.interface << ", bound by " << peer.binding;
    const std::lock_guard lock(mutex_);
    api::RailStatus& rail = ranks_[static_cast<std::size_t>(rank.value())].rails.emplace_back();
    rail.plane = kDataPlane;
    rail.peer = PeerName(peer.rank);
    rail.interface = peer.interface;
    rail.local_address = peer.local_address;
    rail.binding = peer.binding;
  }
  At(rank).formed = true;
  SetState(rank, "ready", "");
  return absl::OkStatus();
}

absl::Status RemoteCluster::TakeForming(Rank rank, const StepResult&) {
  return OutOfPlace(rank, "what came of a step");
}

absl::Status RemoteCluster::TakeForming(Rank rank, const WorkerFabric& fabric) {
  const std::lock_guard lock(mutex_);
  TakeFabric(rank, fabric);
  return absl::OkStatus();
}

// With mutex_ held.
void RemoteCluster::TakeFabric(Rank rank, const WorkerFabric& fabric) {
  const auto index = static_cast<std::size_t>(rank.value());
  meters_[index].Take(fabric.interfaces, fabric.sampled);
  ranks_[index].interfaces = meters_[index].interfaces();
  ranks_[index].memory_available_bytes = fabric.memory_available_bytes;
  ranks_[index].memory_shortage = fabric.memory_shortage;
  for (const WorkerPeerTraffic& peer : fabric.peers) {
    for (api::RailStatus& rail : ranks_[index].rails) {
      if (rail.plane == kDataPlane && rail.peer == PeerName(peer.rank)) {
        rail.sent_bytes = peer.sent_bytes;
        rail.received_bytes = peer.received_bytes;
      }
    }
  }
}

absl::Status RemoteCluster::TakeForming(Rank rank, const LinkEnd& end) {
  Worker& worker = At(rank);
  const std::string why(end.why.message());
  const bool was_loaded = worker.loaded.has_value();
  links_->Close(rank);
  forming_.Forget(static_cast<std::size_t>(rank.value()));
  if (end.refused) {
    SetState(rank, "failed", why);
    return absl::FailedPreconditionError(absl::StrFormat("%s refuses: %s", NameOf(rank), why));
  }
  if (end.newest_epoch.has_value() && *end.newest_epoch >= epoch_) {
    newest_epoch_ = std::max(newest_epoch_, *end.newest_epoch);
    SetState(rank, "connecting", why);
    return absl::AbortedError(absl::StrFormat("%s: %s", NameOf(rank), why));
  }
  if (was_loaded) {
    worker.lost_why = end.said ? "" : why;
    SetState(rank, end.said ? "failed" : "lost", why);
    return absl::UnavailableError(
        absl::StrFormat("%s %s: %s", NameOf(rank), end.said ? "failed" : "is lost", why));
  }
  // Not up yet, or fell over while loading: whoever starts it again is awaited.
  worker.identity.reset();
  worker.retry_at = links_->Now() + kReconnectPause;
  if (worker.lost_why.empty()) {
    SetState(rank, "connecting", why);
  }
  return absl::OkStatus();
}

absl::Status RemoteCluster::CheckAgreement() const {
  const WorkerIdentity& first = *workers_[0].identity;
  for (std::size_t rank = 0; rank < Count(); ++rank) {
    const WorkerIdentity& own = *workers_[rank].identity;
    const std::string name = NameOf(Rank(static_cast<std::int32_t>(rank)));
    RETURN_IF_ERROR(CheckFits(own, name, options_));
    RETURN_IF_ERROR(CheckAlike(first, NameOf(Rank(0)), own, name));
  }
  return absl::OkStatus();
}

void RemoteCluster::Goodbye() {
  for (const WorkerEndpoint& worker : options_.workers) {
    links_->SendGoodbye(worker.rank);
  }
}

std::vector<api::RankStatus> RemoteCluster::Ranks() const {
  const engine::Time now = links_->Now();
  const std::lock_guard lock(mutex_);
  std::vector<api::RankStatus> ranks = ranks_;
  for (const WorkerEndpoint& worker : options_.workers) {
    api::RankStatus& status = ranks[static_cast<std::size_t>(worker.rank.value())];
    if (status.state == "ready" || status.state == "slow") {
      status.position = engine::runtime::Describe(detector_.position(worker.rank));
      if (const auto silence = detector_.SilentFor(worker.rank, now)) {
        status.heard_seconds_ago = std::chrono::duration<double>(*silence).count();
      }
    }
    for (api::RailStatus& rail : status.rails) {
      if (rail.plane == kControlPlane) {
        const LinkTraffic traffic = links_->Traffic(worker.rank);
        rail.sent_bytes = traffic.sent_bytes;
        rail.received_bytes = traffic.received_bytes;
      }
    }
    for (const api::InterfaceStatus& interface : status.interfaces) {
      if (status.detail.empty()) {
        status.detail = interface.fault;
      }
    }
  }
  return ranks;
}

std::vector<api::StartUpPhase> RemoteCluster::LoadingPhases() const {
  const std::lock_guard lock(mutex_);
  return phases_;
}

}  // namespace sparkspan::head::cluster
