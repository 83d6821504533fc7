#include "engine/doctor/finding.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"

namespace sparkspan::engine::doctor {
namespace {

constexpr int kReportVersion = 1;

std::string TextOf(const Finding& finding) {
  std::string text = absl::StrFormat("%-8s %s", std::string(ToString(finding.outcome)), finding.id);
  if (!finding.subject.empty()) {
    text += ": " + finding.subject;
  }
  text += ": " + finding.found;
  if (!finding.expected.empty()) {
    text += "; expected " + finding.expected;
  }
  text += "\n";
  if (!finding.next_step.empty()) {
    text += absl::StrFormat("%-8s %s\n", "  next:", finding.next_step);
  }
  return text;
}

}  // namespace

std::string_view ToString(Outcome outcome) {
  switch (outcome) {
    case Outcome::kPass:
      return "pass";
    case Outcome::kInfo:
      return "info";
    case Outcome::kSkipped:
      return "skipped";
    case Outcome::kWarning:
      return "warning";
    case Outcome::kFailure:
      return "failure";
  }
  return "?";
}

void Report::Pass(std::string_view id, std::string subject, std::string found) {
  findings_.push_back(
      {std::string(id), Outcome::kPass, std::move(subject), std::move(found), "", ""});
}

void Report::Info(std::string_view id, std::string subject, std::string found) {
  findings_.push_back(
      {std::string(id), Outcome::kInfo, std::move(subject), std::move(found), "", ""});
}

void Report::Skip(std::string_view id, std::string why) {
  findings_.push_back({std::string(id), Outcome::kSkipped, "", std::move(why), "", ""});
}

void Report::Warn(std::string_view id,
                  std::string subject,
                  std::string found,
                  std::string expected,
                  std::string next_step) {
  findings_.push_back({std::string(id),
                       Outcome::kWarning,
                       std::move(subject),
                       std::move(found),
                       std::move(expected),
                       std::move(next_step)});
}

void Report::Fail(std::string_view id,
                  std::string subject,
                  std::string found,
                  std::string expected,
                  std::string next_step) {
  findings_.push_back({std::string(id),
                       Outcome::kFailure,
                       std::move(subject),
                       std::move(found),
                       std::move(expected),
                       std::move(next_step)});
}

int Report::Count(Outcome outcome) const {
  return static_cast<int>(
      std::count_if(findings_.begin(), findings_.end(), [outcome](const Finding& finding) {
        return finding.outcome == outcome;
      }));
}

int Report::ExitCode() const {
  if (Count(Outcome::kFailure) > 0) {
    return kExitFailures;
  }
  return Count(Outcome::kWarning) > 0 ? kExitWarnings : 0;
}

std::string ToText(const Report& report, const std::string& node, bool verbose) {
  std::string text;
  constexpr std::array kOrder = {
      Outcome::kFailure, Outcome::kWarning, Outcome::kInfo, Outcome::kSkipped, Outcome::kPass};
  for (const Outcome outcome : kOrder) {
    for (const Finding& finding : report.findings()) {
      if (finding.outcome == outcome && (verbose || outcome != Outcome::kPass)) {
        text += TextOf(finding);
      }
    }
  }
  return text + absl::StrFormat("%s: %d failures, %d warnings, %d passed, %d skipped\n",
                                node,
                                report.Count(Outcome::kFailure),
                                report.Count(Outcome::kWarning),
                                report.Count(Outcome::kPass) + report.Count(Outcome::kInfo),
                                report.Count(Outcome::kSkipped));
}

std::string ToJson(const Report& report, const std::string& node) {
  nlohmann::ordered_json root = {
      {"version", kReportVersion}, {"node", node}, {"exit_code", report.ExitCode()}};
  root["findings"] = nlohmann::ordered_json::array();
  for (const Finding& finding : report.findings()) {
    root["findings"].push_back({{"id", finding.id},
                                {"outcome", std::string(ToString(finding.outcome))},
                                {"subject", finding.subject},
                                {"found", finding.found},
                                {"expected", finding.expected},
                                {"next_step", finding.next_step}});
  }
  return root.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace sparkspan::engine::doctor
