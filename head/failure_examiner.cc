#include "head/failure_examiner.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"

namespace sparkspan::head {
namespace {

using engine::doctor::Finding;
using engine::doctor::Outcome;

std::vector<api::FindingStatus> ComplaintsOf(const std::string& node,
                                             const engine::doctor::Report& report) {
  std::vector<api::FindingStatus> complaints;
  for (const Outcome outcome : {Outcome::kFailure, Outcome::kWarning}) {
    for (const Finding& finding : report.findings()) {
      if (finding.outcome == outcome) {
        complaints.push_back({finding.id,
                              std::string(ToString(outcome)),
                              "node " + node + ": " + finding.subject,
                              finding.found,
                              finding.expected,
                              finding.next_step});
      }
    }
  }
  return complaints;
}

}  // namespace

FailureExaminer::FailureExaminer(std::vector<ExaminedNode> nodes, engine::Duration retry_interval)
    : nodes_(std::move(nodes)),
      retry_interval_(retry_interval),
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
  failure->examination.clear();
  failure->findings.clear();
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const bool is_begun = examined_ == failure->epoch && !examinations_[i].text.empty();
    failure->examination +=
        (i == 0 ? "" : "; ") +
        (is_begun ? examinations_[i].text
                  : absl::StrFormat("node %s is being looked at", nodes_[i].name));
    if (is_begun) {
      const auto& findings = examinations_[i].findings;
      failure->findings.insert(failure->findings.end(), findings.begin(), findings.end());
    }
  }
}

FailureExaminer::Examination FailureExaminer::Examine(const ExaminedNode& node) {
  const auto began = std::chrono::steady_clock::now();
  const absl::StatusOr<engine::doctor::Report> report = node.examine();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  if (!report.ok()) {
    return {
        absl::StrFormat("node %s could not be looked at: %s", node.name, report.status().message()),
        !absl::IsUnavailable(report.status()) && !absl::IsDeadlineExceeded(report.status()),
        {}};
  }
  return {absl::StrFormat("node %s was looked at for %.2f s: %d failures, %d warnings",
                          node.name,
                          took.count(),
                          report->Count(Outcome::kFailure),
                          report->Count(Outcome::kWarning)),
          true,
          ComplaintsOf(node.name, *report)};
}

bool FailureExaminer::Pause() {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(
      lock, retry_interval_, [&] { return stopping_ || wanted_.has_value(); });
}

void FailureExaminer::ExamineAll(std::uint64_t epoch) {
  {
    const std::lock_guard lock(mutex_);
    examined_ = epoch;
    examinations_.assign(nodes_.size(), {});
  }
  const engine::Time deadline = std::chrono::steady_clock::now() + kReturnTimeout;
  std::vector<bool> is_over(nodes_.size());
  do {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (is_over[i]) {
        continue;
      }
      Examination examination = Examine(nodes_[i]);
      is_over[i] = examination.is_over;
      if (is_over[i]) {
        LOG(INFO) << "after the loss of epoch " << epoch << ": " << examination.text;
      }
      for (const api::FindingStatus& finding : examination.findings) {
        LOG(WARNING) << finding.id << ": " << finding.subject << ": " << finding.found
                     << "; next: " << finding.next_step;
      }
      const std::lock_guard lock(mutex_);
      examinations_[i] = std::move(examination);
    }
  } while (std::find(is_over.begin(), is_over.end(), false) != is_over.end() &&
           std::chrono::steady_clock::now() < deadline && Pause());
}

void FailureExaminer::Run() {
  while (true) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || wanted_.has_value(); });
    if (stopping_) {
      return;
    }
    const std::uint64_t epoch = *std::exchange(wanted_, std::nullopt);
    lock.unlock();
    ExamineAll(epoch);
  }
}

}  // namespace sparkspan::head
