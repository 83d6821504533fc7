#include "head/failure_examiner.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"

namespace sparkspan::head {
namespace {

using engine::doctor::Finding;
using engine::doctor::Outcome;

std::vector<api::FindingStatus> ComplaintsOf(const engine::doctor::Report& report) {
  std::vector<api::FindingStatus> complaints;
  for (const Outcome outcome : {Outcome::kFailure, Outcome::kWarning}) {
    for (const Finding& finding : report.findings()) {
      if (finding.outcome == outcome) {
        complaints.push_back({finding.id,
                              std::string(ToString(outcome)),
                              finding.subject,
                              finding.found,
                              finding.expected,
                              finding.next_step});
      }
    }
  }
  return complaints;
}

}  // namespace

FailureExaminer::FailureExaminer(std::string node, Examine examine)
    : node_(std::move(node)),
      examine_(std::move(examine)),
      thread_("examiner", [this] { Run(); }) {}

FailureExaminer::~FailureExaminer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.Join();
}

void FailureExaminer::Begin(std::uint64_t epoch) {
  {
    const std::lock_guard lock(mutex_);
    wanted_ = epoch;
  }
  changed_.notify_all();
}

void FailureExaminer::Describe(api::FailureStatus* failure) const {
  const std::lock_guard lock(mutex_);
  if (examined_ != failure->epoch) {
    failure->examination = absl::StrFormat("node %s is being looked at", node_);
    return;
  }
  failure->examination = examination_;
  failure->findings = findings_;
}

void FailureExaminer::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || wanted_.has_value(); });
    if (stopping_) {
      return;
    }
    const std::uint64_t epoch = *std::exchange(wanted_, std::nullopt);
    lock.unlock();
    const auto began = std::chrono::steady_clock::now();
    const absl::StatusOr<engine::doctor::Report> report = examine_();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    std::vector<api::FindingStatus> findings;
    std::string examination;
    if (report.ok()) {
      findings = ComplaintsOf(*report);
      examination = absl::StrFormat("node %s was looked at for %.2f s: %d failures, %d warnings",
                                    node_,
                                    took.count(),
                                    report->Count(Outcome::kFailure),
                                    report->Count(Outcome::kWarning));
    } else {
      examination =
          absl::StrFormat("node %s could not be looked at: %s", node_, report.status().message());
    }
    LOG(INFO) << "after the loss of epoch " << epoch << ": " << examination;
    for (const api::FindingStatus& finding : findings) {
      LOG(WARNING) << finding.id << ": " << finding.subject << ": " << finding.found
                   << "; next: " << finding.next_step;
    }
    lock.lock();
    examined_ = epoch;
    examination_ = std::move(examination);
    findings_ = std::move(findings);
  }
}

}  // namespace sparkspan::head
