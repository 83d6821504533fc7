#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "deploy/cli/bench_draft_options.h"
#include "engine/schedule/step_cost.h"

namespace sparkspan::deploy::cli {

// One class of requests, one at a time.
struct DraftClassReport {
  std::string name;
  int requests = 0;
  double plain_rate = 0;         // decoded tokens per second, without a drafter
  double fixed_rate = 0;         // verifying every draft
  double hardware_rate = 0;      // verifying what steps are measured to be worth
  double acceptance_length = 0;  // tokens per step, with every draft verified
  double plain_ms = 0;           // a step without drafts
  double verify_ms = 0;          // a step that verifies, less drafting
  double draft_ms = 0;

  // What acceptance and step times promise, and what of it is there.
  double promised_speedup() const { return acceptance_length * plain_ms / (verify_ms + draft_ms); }
  double speedup() const { return fixed_rate / plain_rate; }
};

struct DraftBenchReport {
  std::string drafter;
  int block = 0;
  int sequences = 0;
  engine::schedule::StepCosts costs;
  std::vector<DraftClassReport> classes;
  // Tokens per second of all requests at saturation, prefill included; [repeats].
  std::vector<double> plain_saturated;
  std::vector<double> fixed_saturated;
  std::vector<double> hardware_saturated;
};

// Serves every request by every policy, the policies in turn, on one loaded cluster with a drafter
// and one without. Errors: a checkpoint without a drafter, cases that cannot be read, drafted text
// that is not the plain one.
absl::StatusOr<DraftBenchReport> TimeDrafting(const BenchDraftOptions& options,
                                              const std::filesystem::path& checkpoint);

std::string DraftReportTable(const DraftBenchReport& report);
std::string DraftReportJson(const DraftBenchReport& report);

}  // namespace sparkspan::deploy::cli
