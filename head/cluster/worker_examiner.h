#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/doctor/finding.h"
#include "engine/doctor/probe_client.h"
#include "engine/fabric/address.h"
#include "engine/fabric/pin.h"
#include "engine/identity/credentials.h"
#include "proto/sparkspan/v1/worker.pb.h"

namespace sparkspan::head::cluster {

// What a worker found, cut and cleaned. InvalidArgument where it makes no sense.
absl::StatusOr<engine::doctor::Report> DecodeFindings(const v1::ExamineResponse& message);

struct ExaminerOptions {
  engine::fabric::DeclaredPin control;  // the head's own, by which it is asked
  std::optional<engine::identity::Credentials> tls;
  std::string program_version;
  std::uint64_t config_hash = 0;
  engine::fabric::Endpoint worker;
  std::string worker_name;  // that its certificate must carry
};

// Has a worker look at its node (engine/doctor/node_examiner.h), over the control plane and beside
// the stream that leases the rank. Only the head's node is answered. Every call makes a connection
// of its own. Errors: Unavailable where no worker answers, DeadlineExceeded, otherwise what the
// worker says.
class WorkerExaminer {
 public:
  explicit WorkerExaminer(ExaminerOptions options) : options_(std::move(options)) {}

  absl::StatusOr<engine::doctor::Report> ExamineNode(bool after_failure,
                                                     engine::Duration timeout) const;
  absl::Status AnswerProbes(const engine::doctor::ProbeTarget& target,
                            engine::Duration timeout) const;
  absl::StatusOr<engine::doctor::Report> ProbePeer(const std::string& node,
                                                   const engine::doctor::ProbeTarget& target,
                                                   engine::Duration timeout) const;

 private:
  absl::StatusOr<engine::doctor::Report> Ask(v1::ExamineRequest request,
                                             engine::Duration timeout) const;

  const ExaminerOptions options_;
};

}  // namespace sparkspan::head::cluster
