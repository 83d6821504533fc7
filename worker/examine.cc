#include "worker/examine.h"

#include <cstdint>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace sparkspan::worker {
namespace {

using engine::doctor::Finding;
using engine::doctor::ProbeTarget;
using engine::doctor::Report;

absl::StatusOr<ProbeTarget> TargetOf(std::uint32_t port, const std::string& token) {
  constexpr std::uint32_t kPortMax = 65'535;
  if (port == 0 || port > kPortMax) {
    return absl::InvalidArgumentError(absl::StrFormat("port %d: expected 1 to %d", port, kPortMax));
  }
  return ProbeTarget{static_cast<std::uint16_t>(port), token};
}

v1::ExamineResponse ToProto(const Report& report) {
  v1::ExamineResponse response;
  for (const Finding& finding : report.findings()) {
    v1::Finding& added = *response.add_findings();
    added.set_id(finding.id);
    added.set_outcome(static_cast<v1::Outcome>(finding.outcome));
    added.set_subject(finding.subject);
    added.set_found(finding.found);
    added.set_expected(finding.expected);
    added.set_next_step(finding.next_step);
  }
  return response;
}

}  // namespace

absl::StatusOr<v1::ExamineResponse> Examine(const v1::ExamineRequest& request,
                                            engine::doctor::NodeExaminer& examiner) {
  switch (request.what_case()) {
    case v1::ExamineRequest::kNode: {
      ASSIGN_OR_RETURN(
          const Report report,
          request.node().after_failure() ? examiner.ExamineFabric() : examiner.ExamineAll());
      return ToProto(report);
    }
    case v1::ExamineRequest::kAnswerProbes: {
      ASSIGN_OR_RETURN(const ProbeTarget target,
                       TargetOf(request.answer_probes().port(), request.answer_probes().token()));
      RETURN_IF_ERROR(examiner.AnswerProbes(target));
      return v1::ExamineResponse();
    }
    case v1::ExamineRequest::kProbePeer: {
      const v1::ProbePeer& probe = request.probe_peer();
      ASSIGN_OR_RETURN(const ProbeTarget target, TargetOf(probe.port(), probe.token()));
      ASSIGN_OR_RETURN(const Report report, examiner.ProbePeer(probe.node(), target));
      return ToProto(report);
    }
    case v1::ExamineRequest::WHAT_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("a request for nothing that this release knows");
}

}  // namespace sparkspan::worker
