#include "worker/session.h"

#include <chrono>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/silence_detector.h"
#include "engine/base/status.h"
#include "engine/base/thread.h"
#include "engine/collective/blamed_peer.h"
#include "engine/fabric/address.h"
#include "engine/runtime/plan_codec.h"

namespace sparkspan::worker {
namespace {

constexpr std::chrono::milliseconds kProgressInterval{250};
constexpr std::chrono::seconds kOrderPollInterval{1};
constexpr std::chrono::seconds kFabricInterval{1};
// The head's silence is judged this often in a limit, so that it shows soon after.
constexpr int kLooksPerLimit = 40;

engine::Time Now() {
  return std::chrono::steady_clock::now();
}

std::int64_t Milliseconds(engine::Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

void ToProto(const engine::fabric::LinkFacts& facts, v1::Link* link) {
  link->set_mtu(facts.mtu);
  link->set_speed_mbps(facts.speed_mbps);
  link->set_duplex(facts.duplex);
  link->set_pcie_width(facts.pcie_width);
  link->set_pcie_speed(facts.pcie_speed);
  link->set_driver(facts.driver);
  link->set_rdma_device(facts.rdma_device);
  if (facts.gid_index >= 0) {
    link->set_gid_index(facts.gid_index);
  }
  link->set_gid(facts.gid);
  link->set_network_namespace(facts.network_namespace);
}

}  // namespace

v1::WorkerMessage FailureMessage(const absl::Status& why, bool is_refusal) {
  v1::WorkerMessage message;
  message.mutable_failure()->set_message(std::string(why.message()));
  message.mutable_failure()->set_refused(is_refusal);
  if (const std::optional<engine::Rank> blamed = engine::collective::BlamedPeer(why)) {
    message.mutable_failure()->set_blamed_rank(blamed->value());
  }
  return message;
}

bool Session::Write(const v1::WorkerMessage& message) {
  const std::lock_guard lock(write_mutex_);
  return stream_.Write(message);
}

void Session::WriteFailure(const absl::Status& why, bool is_refusal) {
  Write(FailureMessage(why, is_refusal));
}

void Session::WriteIdentity() {
  const RankIdentity& own = lifecycle_.identity();
  v1::WorkerMessage message;
  v1::Identity& identity = *message.mutable_identity();
  identity.set_rank(own.rank.value());
  identity.set_program_version(options_.program_version);
  identity.set_config_hash(own.config_hash);
  identity.set_checkpoint_hash(own.checkpoint_hash);
  identity.set_numerics_hash(own.numerics_hash);
  identity.set_architecture(own.architecture);
  identity.set_simd_target(own.simd_target);
  identity.set_device(own.device);
  identity.set_nccl_version(own.nccl_version);
  identity.set_unix_ms(std::chrono::duration_cast<std::chrono::milliseconds>(
                           std::chrono::system_clock::now().time_since_epoch())
                           .count());
  Write(message);
}

bool Session::WaitForWeights() {
  while (!over_) {
    const LoadProgress progress = lifecycle_.WaitForLoading(Now() + kProgressInterval);
    if (!progress.failure.ok()) {
      WriteFailure(progress.failure, /*is_refusal=*/true);
      return false;
    }
    v1::WorkerMessage message;
    if (progress.loaded) {
      v1::Loaded& loaded = *message.mutable_loaded();
      loaded.set_weights_bytes(progress.weights_bytes);
      loaded.set_kv_bytes(progress.kv_bytes);
      loaded.set_resident_bytes(progress.resident_bytes);
      loaded.set_kv_blocks(progress.kv_blocks);
      for (const LoadPhase& phase : progress.phases) {
        v1::Phase& added = *loaded.add_phases();
        added.set_name(phase.name);
        added.set_seconds(phase.seconds);
      }
    } else {
      message.mutable_loading()->set_phase(progress.phase);
      message.mutable_loading()->set_seconds(progress.seconds);
    }
    if (!Write(message) || progress.loaded) {
      return progress.loaded;
    }
  }
  return false;
}

void Session::Work() {
  if (!WaitForWeights()) {
    return;
  }
  while (!orders_.closed()) {
    const std::optional<Order> order = orders_.Pop(Now() + kOrderPollInterval);
    if (order.has_value() && !std::visit([&](const auto& what) { return Obey(what); }, *order)) {
      return;  // The head ends the stream when it reads why.
    }
  }
}

bool Session::Obey(const FormGroupOrder& order) {
  end_.formed = true;
  losses_before_group_ = lifecycle_.interfaces().losses();
  const absl::StatusOr<std::vector<PeerPath>> peers =
      lifecycle_.BeginEpoch(options_.epoch, order.session_key, over_);
  if (!peers.ok()) {
    LOG(ERROR) << "epoch " << options_.epoch << ": no group: " << peers.status().message();
    WriteFailure(peers.status(), /*is_refusal=*/false);
    return false;
  }
  v1::WorkerMessage message;
  message.mutable_group_formed();
  for (const PeerPath& path : *peers) {
    v1::Peer& peer = *message.mutable_group_formed()->add_peers();
    peer.set_rank(path.rank.value());
    peer.set_local_address(path.local_address);
    peer.set_interface(path.interface);
    peer.set_binding(path.binding);
  }
  in_group_ = true;
  return Write(message);
}

bool Session::Obey(const FaultOrder& order) {
  LOG(ERROR) << "epoch " << options_.epoch << ": " << order.fault;
  WriteFailure(absl::UnavailableError(order.fault), /*is_refusal=*/false);
  return false;
}

bool Session::Obey(const engine::runtime::StepPlan& plan) {
  const absl::StatusOr<engine::runtime::StepResult> result = lifecycle_.Run(plan);
  if (!result.ok()) {
    LOG(ERROR) << "epoch " << options_.epoch << ", step " << plan.step << ": "
               << result.status().message();
    lifecycle_.Abort(result.status());
    WriteFailure(result.status(), /*is_refusal=*/false);
    return false;
  }
  v1::WorkerMessage message;
  engine::runtime::ResultToProto(*result, message.mutable_result());
  return Write(message);
}

v1::WorkerMessage Session::PulseMessage() const {
  const engine::runtime::RankPosition position = lifecycle_.position();
  v1::WorkerMessage message;
  v1::Pulse& pulse = *message.mutable_pulse();
  pulse.set_begun_step(position.begun.value());
  pulse.set_finished_step(position.finished.value());
  pulse.set_exchanges(position.exchanges);
  pulse.set_collective(static_cast<v1::Collective>(position.collective));
  pulse.set_exchanging(position.exchanging);
  return message;
}

v1::WorkerMessage Session::FabricMessage() const {
  const FabricReport report = lifecycle_.Fabric();
  v1::WorkerMessage message;
  v1::Fabric& fabric = *message.mutable_fabric();
  fabric.set_sampled_ms(Milliseconds(Now().time_since_epoch()));
  for (const engine::fabric::PinSample& sample : report.interfaces) {
    v1::Interface& interface = *fabric.add_interfaces();
    interface.set_name(sample.declared.pin.interface);
    interface.set_address(engine::fabric::ToString(sample.declared.pin.address));
    interface.set_index(sample.interface_index);
    interface.set_control(sample.declared.control);
    interface.set_data(sample.declared.data);
    interface.set_fault(sample.fault);
    interface.set_path_fault(sample.path_fault);
    interface.set_sent_bytes(sample.counters.sent_bytes);
    interface.set_received_bytes(sample.counters.received_bytes);
    interface.set_errors(sample.counters.errors);
    interface.set_dropped(sample.counters.dropped);
    interface.set_rdma_sent_bytes(sample.counters.rdma_sent_bytes);
    interface.set_rdma_received_bytes(sample.counters.rdma_received_bytes);
    interface.set_net(sample.declared.net);
    ToProto(sample.link, interface.mutable_link());
  }
  for (const engine::collective::PeerTraffic& peer : report.peers) {
    v1::PeerTraffic& traffic = *fabric.add_peers();
    traffic.set_rank(peer.rank.value());
    traffic.set_sent_bytes(peer.sent_bytes);
    traffic.set_received_bytes(peer.received_bytes);
  }
  const MemoryReport memory = lifecycle_.memory();
  fabric.mutable_memory()->set_available_bytes(memory.available_bytes);
  fabric.mutable_memory()->set_shortage(memory.shortage);
  return message;
}

bool Session::WriteUnlessBusy(const v1::WorkerMessage& message) {
  const std::unique_lock lock(write_mutex_, std::try_to_lock);
  return lock.owns_lock() && stream_.Write(message);
}

void Session::ReportFabric(engine::Time now) {
  const std::uint64_t changes = lifecycle_.interfaces().changes();
  const bool memory_is_short = !lifecycle_.memory().shortage.empty();
  if (now >= fabric_at_ || changes != interface_changes_ || memory_is_short != memory_was_short_) {
    if (WriteUnlessBusy(FabricMessage())) {
      fabric_at_ = now + kFabricInterval;
      interface_changes_ = changes;
      memory_was_short_ = memory_is_short;
    }
  }
  if (in_group_ && !fault_ordered_) {
    if (std::string fault = EpochFault(); !fault.empty()) {
      fault_ordered_ = orders_.TryPush(Order(FaultOrder{std::move(fault)}));
    }
  }
}

std::string Session::EpochFault() const {
  if (MemoryReport memory = lifecycle_.memory(); memory.is_exhausted) {
    return std::move(memory.shortage);
  }
  // However short a loss was, it has broken the group's connections.
  const engine::fabric::PinMonitor& interfaces = lifecycle_.interfaces();
  return interfaces.losses() > losses_before_group_ ? interfaces.last_loss() : "";
}

void Session::Pulse() {
  engine::SilenceDetector silence(1, options_.silence_limit);
  const engine::Duration look =
      std::min(options_.heartbeat_interval, options_.silence_limit / kLooksPerLimit);
  engine::Time pulse_at = Now();
  while (!over_) {
    const engine::Time now = Now();
    silence.Hear(0, heard_);
    if (!silence.Silent(now).empty()) {
      Finish(absl::UnavailableError(absl::StrFormat("the head has given no sign of life for %d ms",
                                                    Milliseconds(now - heard_.load()))));
      context_.TryCancel();
      return;
    }
    if (now >= pulse_at) {
      pulse_at = now + options_.heartbeat_interval;
      WriteUnlessBusy(PulseMessage());
    }
    ReportFabric(now);
    std::unique_lock lock(pulse_mutex_);
    pulse_changed_.wait_for(lock, look, [&] { return over_.load(); });
  }
}

absl::StatusOr<Session::Order> Session::OrderOf(v1::HeadMessage message) const {
  if (message.has_form_group()) {
    return FormGroupOrder{std::move(*message.mutable_form_group()->mutable_session_key())};
  }
  if (message.has_plan()) {
    return engine::runtime::PlanFromProto(message.plan());
  }
  return absl::InvalidArgumentError("a message that has no place in an epoch");
}

absl::Status Session::Read() {
  v1::HeadMessage message;
  while (stream_.Read(&message)) {
    heard_ = Now();
    if (message.has_heartbeat()) {
      continue;
    }
    if (message.has_goodbye()) {
      return absl::CancelledError("the head said goodbye");
    }
    ASSIGN_OR_RETURN(Order order, OrderOf(std::move(message)));
    if (!orders_.TryPush(std::move(order))) {
      return absl::ResourceExhaustedError("the head sent more than may be in flight");
    }
  }
  return absl::UnavailableError("the head's stream has ended");
}

// The first reason is the one that is logged.
void Session::Finish(const absl::Status& why) {
  {
    const std::lock_guard lock(pulse_mutex_);
    if (over_.exchange(true)) {
      return;
    }
  }
  pulse_changed_.notify_all();
  orders_.Close();
  lifecycle_.Abort(why);
  LOG(INFO) << "epoch " << options_.epoch << " ends: " << why.message();
}

SessionEnd Session::Run() {
  heard_ = Now();
  WriteIdentity();
  {
    const engine::Thread pulse("pulse", [this] { Pulse(); });
    const engine::Thread executor("executor", [this] { Work(); });
    Finish(Read());
  }
  if (end_.formed) {
    lifecycle_.EndEpoch();
    LOG(INFO) << "epoch " << options_.epoch << " has ended; the weights stay";
  }
  return end_;
}

}  // namespace sparkspan::worker
