#include "head/cluster/worker_examiner.h"

#include <grpc/support/time.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/control_characters.h"
#include "engine/base/status.h"
#include "engine/runtime/plan_codec.h"
#include "head/cluster/pinned_relay.h"
#include "head/cluster/worker_channel.h"
#include "proto/sparkspan/v1/worker.grpc.pb.h"

namespace sparkspan::head::cluster {
namespace {

using engine::doctor::Finding;
using engine::doctor::Outcome;
using engine::doctor::Report;

constexpr int kFindingsMax = 1024;
constexpr std::size_t kTextBytesMax = 4096;

std::string Clean(const std::string& text) {
  std::string clean = text.substr(0, kTextBytesMax);
  std::replace_if(clean.begin(), clean.end(), engine::IsControlCharacter, ' ');
  return clean;
}

gpr_timespec After(engine::Duration timeout) {
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_millis(milliseconds, GPR_TIMESPAN));
}

}  // namespace

absl::StatusOr<Report> DecodeFindings(const v1::ExamineResponse& message) {
  if (message.findings_size() > kFindingsMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("it told of %d findings", message.findings_size()));
  }
  Report report;
  for (const v1::Finding& finding : message.findings()) {
    if (finding.id().empty() || !v1::Outcome_IsValid(finding.outcome())) {
      return absl::InvalidArgumentError("it told of a finding that is none of this release");
    }
    report.Add({Clean(finding.id()),
                static_cast<Outcome>(finding.outcome()),
                Clean(finding.subject()),
                Clean(finding.found()),
                Clean(finding.expected()),
                Clean(finding.next_step())});
  }
  return report;
}

absl::StatusOr<Report> WorkerExaminer::Ask(v1::ExamineRequest request,
                                           engine::Duration timeout) const {
  request.set_wire_version(engine::runtime::kWireVersion);
  request.set_program_version(options_.program_version);
  request.set_config_hash(options_.config_hash);
  ASSIGN_OR_RETURN(const auto relay, PinnedRelay::Start(options_.control, options_.worker));
  const auto stub =
      v1::Worker::NewStub(MakeWorkerChannel(relay->target(),
                                            options_.tls,
                                            options_.worker_name,
                                            std::chrono::ceil<std::chrono::milliseconds>(timeout)));
  grpc::ClientContext context;
  context.set_deadline(After(timeout));
  v1::ExamineResponse response;
  const grpc::Status status = stub->Examine(&context, request, &response);
  if (status.ok()) {
    return DecodeFindings(response);
  }
  // gRPC knows that its connection closed; the relay, which made it, knows why.
  const auto path = relay->path();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      path.ok() ? status.error_message() : std::string(path.status().message()));
}

absl::StatusOr<Report> WorkerExaminer::ExamineNode(bool after_failure,
                                                   engine::Duration timeout) const {
  v1::ExamineRequest request;
  request.mutable_node()->set_after_failure(after_failure);
  return Ask(std::move(request), timeout);
}

absl::Status WorkerExaminer::AnswerProbes(const engine::doctor::ProbeTarget& target,
                                          engine::Duration timeout) const {
  v1::ExamineRequest request;
  request.mutable_answer_probes()->set_port(target.port);
  request.mutable_answer_probes()->set_token(target.token);
  return Ask(std::move(request), timeout).status();
}

absl::StatusOr<Report> WorkerExaminer::ProbePeer(const std::string& node,
                                                 const engine::doctor::ProbeTarget& target,
                                                 engine::Duration timeout) const {
  v1::ExamineRequest request;
  request.mutable_probe_peer()->set_node(node);
  request.mutable_probe_peer()->set_port(target.port);
  request.mutable_probe_peer()->set_token(target.token);
  return Ask(std::move(request), timeout);
}

}  // namespace sparkspan::head::cluster
