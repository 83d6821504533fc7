#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "deploy/cli/bench_draft.h"
#include "deploy/cli/quantile.h"

namespace sparkspan::deploy::cli {
namespace {

std::string SaturationLine(const char* policy, const std::vector<double>& rates) {
  const auto [least, most] = std::minmax_element(rates.begin(), rates.end());
  return absl::StrFormat(
      "  %-9s %8.1f tok/s (%.1f to %.1f)\n", policy, Median(rates), *least, *most);
}

}  // namespace

std::string DraftReportTable(const DraftBenchReport& report) {
  std::string text = absl::StrFormat(
      "drafter %s, blocks of %d; a step of 1 row %.0f us, of %d rows %.0f us, drafting %.0f us\n\n",
      report.drafter,
      report.block,
      report.costs.rows.At(1),
      1 + report.block,
      report.costs.rows.At(1 + report.block),
      report.costs.drafts.At(1));
  text += absl::StrFormat("%-14s %8s %8s %8s %6s %9s %9s %9s %9s %9s %6s\n",
                          "one at a time",
                          "none",
                          "fixed",
                          "hardware",
                          "length",
                          "plain ms",
                          "verify ms",
                          "draft ms",
                          "promised",
                          "speed-up",
                          "ratio");
  for (const DraftClassReport& of : report.classes) {
    text += absl::StrFormat("%-14s %8.1f %8.1f %8.1f %6.2f %9.3f %9.3f %9.3f %9.2f %9.2f %6.2f\n",
                            of.name,
                            of.plain_rate,
                            of.fixed_rate,
                            of.hardware_rate,
                            of.acceptance_length,
                            of.plain_ms,
                            of.verify_ms,
                            of.draft_ms,
                            of.promised_speedup(),
                            of.speedup(),
                            of.speedup() / of.promised_speedup());
  }
  text += absl::StrFormat("\nall together, %d at once (median, and range of the repeats):\n",
                          report.sequences);
  text += SaturationLine("none", report.plain_saturated);
  text += SaturationLine("fixed", report.fixed_saturated);
  return text + SaturationLine("hardware", report.hardware_saturated);
}

std::string DraftReportJson(const DraftBenchReport& report) {
  nlohmann::ordered_json root = {
      {"drafter", report.drafter}, {"block", report.block}, {"sequences", report.sequences}};
  root["classes"] = nlohmann::ordered_json::array();
  for (const DraftClassReport& of : report.classes) {
    root["classes"].push_back({{"name", of.name},
                               {"requests", of.requests},
                               {"none_tokens_per_second", of.plain_rate},
                               {"fixed_tokens_per_second", of.fixed_rate},
                               {"hardware_tokens_per_second", of.hardware_rate},
                               {"acceptance_length", of.acceptance_length},
                               {"plain_ms", of.plain_ms},
                               {"verify_ms", of.verify_ms},
                               {"draft_ms", of.draft_ms},
                               {"promised_speedup", of.promised_speedup()},
                               {"speedup", of.speedup()}});
  }
  root["saturated_tokens_per_second"] = {{"none", report.plain_saturated},
                                         {"fixed", report.fixed_saturated},
                                         {"hardware", report.hardware_saturated}};
  return root.dump(2) + "\n";
}

}  // namespace sparkspan::deploy::cli
