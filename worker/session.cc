#include "worker/session.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/runtime/plan_codec.h"

namespace sparkspan::worker {
namespace {

constexpr std::chrono::milliseconds kProgressInterval{250};
constexpr std::chrono::seconds kPlanPollInterval{1};

}  // namespace

void WriteFailure(const absl::Status& why, bool is_refusal, SessionStream* stream) {
  v1::WorkerMessage message;
  message.mutable_failure()->set_message(std::string(why.message()));
  message.mutable_failure()->set_refused(is_refusal);
  stream->Write(message);
}

void Session::WriteIdentity(SessionStream* stream) const {
  const RankIdentity& own = lifecycle_.identity();
  v1::WorkerMessage message;
  v1::Identity& identity = *message.mutable_identity();
  identity.set_rank(own.rank.value());
  identity.set_program_version(program_version_);
  identity.set_config_hash(own.config_hash);
  identity.set_checkpoint_hash(own.checkpoint_hash);
  identity.set_numerics_hash(own.numerics_hash);
  identity.set_architecture(own.architecture);
  identity.set_simd_target(own.simd_target);
  identity.set_device(own.device);
  stream->Write(message);
}

bool Session::WaitForWeights(grpc::ServerContext* context, SessionStream* stream) {
  while (true) {
    const LoadProgress progress =
        lifecycle_.WaitForLoading(std::chrono::steady_clock::now() + kProgressInterval);
    if (!progress.failure.ok()) {
      WriteFailure(progress.failure, /*is_refusal=*/true, stream);
      return false;
    }
    if (context->IsCancelled()) {
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
    if (!stream->Write(message) || progress.loaded) {
      return progress.loaded;
    }
  }
}

bool Session::FormGroup(const std::string& session_key, SessionStream* stream) {
  const absl::StatusOr<std::vector<PeerPath>> peers =
      lifecycle_.BeginEpoch(end_.epoch, session_key);
  if (!peers.ok()) {
    LOG(ERROR) << "epoch " << end_.epoch << ": no group: " << peers.status().message();
    WriteFailure(peers.status(), /*is_refusal=*/false, stream);
    return false;
  }
  v1::WorkerMessage message;
  message.mutable_group_formed();
  for (const PeerPath& path : *peers) {
    v1::Peer& peer = *message.mutable_group_formed()->add_peers();
    peer.set_rank(path.rank.value());
    peer.set_local_address(path.local_address);
    peer.set_interface(path.interface);
  }
  return stream->Write(message);
}

void Session::RunPlans(SessionStream* stream) {
  while (!plans_.closed()) {
    const std::optional<engine::runtime::StepPlan> plan =
        plans_.Pop(std::chrono::steady_clock::now() + kPlanPollInterval);
    if (!plan.has_value()) {
      continue;
    }
    const absl::StatusOr<engine::runtime::StepResult> result = lifecycle_.Run(*plan);
    if (!result.ok()) {
      LOG(ERROR) << "epoch " << end_.epoch << ", step " << plan->step << ": "
                 << result.status().message();
      lifecycle_.Abort(result.status());
      // The head ends the stream when it reads this.
      WriteFailure(result.status(), /*is_refusal=*/false, stream);
      return;
    }
    v1::WorkerMessage message;
    engine::runtime::ResultToProto(*result, message.mutable_result());
    if (!stream->Write(message)) {
      return;
    }
  }
}

void Session::ReadPlans(SessionStream* stream) {
  v1::HeadMessage message;
  while (stream->Read(&message)) {
    if (message.has_goodbye()) {
      return;
    }
    absl::StatusOr<engine::runtime::StepPlan> plan =
        message.has_plan() ? engine::runtime::PlanFromProto(message.plan())
                           : absl::InvalidArgumentError("a message that is no plan, in an epoch");
    if (!plan.ok() || !plans_.TryPush(*std::move(plan))) {
      LOG(ERROR) << "the head sent what cannot be run: "
                 << (plan.ok() ? "more plans than may be in flight" : plan.status().message());
      return;
    }
  }
}

SessionEnd Session::Run(grpc::ServerContext* context, SessionStream* stream) {
  WriteIdentity(stream);
  if (!WaitForWeights(context, stream)) {
    return end_;
  }
  v1::HeadMessage message;
  if (!stream->Read(&message)) {
    return end_;
  }
  if (!message.has_form_group()) {
    return end_;
  }
  end_.formed = true;
  if (FormGroup(message.form_group().session_key(), stream)) {
    engine::Thread executor("executor", [this, stream] { RunPlans(stream); });
    ReadPlans(stream);
    plans_.Close();
    lifecycle_.Abort(absl::CancelledError("the head's stream has ended"));
  }
  lifecycle_.EndEpoch();
  LOG(INFO) << "epoch " << end_.epoch << " has ended; the weights stay";
  return end_;
}

}  // namespace sparkspan::worker
