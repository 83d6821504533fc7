#include "deploy/cli/bench_command.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "absl/strings/str_format.h"
#include "deploy/cli/bench_checkpoint.h"
#include "deploy/cli/bench_draft.h"
#include "deploy/cli/bench_draft_options.h"
#include "deploy/cli/bench_exchange.h"
#include "deploy/cli/bench_options.h"
#include "deploy/cli/bench_report.h"
#include "deploy/cli/bench_step.h"
#include "deploy/cli/read_bandwidth.h"
#include "engine/base/status.h"
#include "engine/weights/host_memory.h"
#include "kernels/cpu/vector_kernels.h"

namespace sparkspan::deploy::cli {
namespace {

double LoadAverage() {
  double load = 0.0;
  return getloadavg(&load, 1) == 1 ? load : 0.0;
}

int Processors() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 0;
}

// Beside weights and buffer: activations and the KV cache of one sequence.
constexpr std::int64_t kOtherBytes = std::int64_t{256} << 20;

absl::Status CheckMemory(std::int64_t checkpoint_bytes, std::int64_t buffer_bytes) {
  ASSIGN_OR_RETURN(const engine::weights::AvailableMemory available,
                   engine::weights::ReadAvailableMemory());
  const std::int64_t needed = checkpoint_bytes + buffer_bytes + kOtherBytes;
  if (needed > available.bytes) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "the run needs %d bytes of memory, %s says %d: give fewer --bytes or --buffer-bytes",
        needed,
        available.limited_by,
        available.bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<BenchReport> Measure(const BenchOptions& options) {
  BenchReport report;
  report.options = options;
  report.shape = BenchShape(options.checkpoint_bytes);
  report.checkpoint_bytes = StoredBytes(report.shape);
  report.processors = Processors();
  report.vector_target = kernels::cpu::VectorTargetName();
  RETURN_IF_ERROR(CheckMemory(report.checkpoint_bytes, options.buffer_bytes));
  std::cerr << absl::StrFormat("bench: a checkpoint of %d bytes\n", report.checkpoint_bytes);
  ASSIGN_OR_RETURN(const BenchCheckpoint checkpoint, BenchCheckpoint::Prepare(options));
  report.checkpoint_reused = checkpoint.reused();
  std::cerr << absl::StrFormat("bench: %s %s; measuring\n",
                               checkpoint.reused() ? "found in" : "written to",
                               checkpoint.folder().string());
  report.load_before = LoadAverage();
  ASSIGN_OR_RETURN(const auto bandwidth,
                   ReadBandwidth::Create(options.buffer_bytes, options.threads));
  ASSIGN_OR_RETURN(report.steps, TimeSteps(options, checkpoint.folder(), *bandwidth));
  ASSIGN_OR_RETURN(report.exchanges, TimeExchanges(options.exchanges));
  report.load_after = LoadAverage();
  return report;
}

absl::StatusOr<DraftBenchReport> MeasureDrafting(const BenchDraftOptions& options) {
  if (!options.model.empty()) {
    return TimeDrafting(options, options.model);
  }
  // Both clusters hold the weights.
  const std::int64_t bytes =
      StoredBytes(BenchShape(options.random.checkpoint_bytes, options.random.draft_stages));
  RETURN_IF_ERROR(CheckMemory(2 * bytes, 0));
  ASSIGN_OR_RETURN(const BenchCheckpoint checkpoint, BenchCheckpoint::Prepare(options.random));
  std::cerr << absl::StrFormat(
      "bench: a checkpoint of %d bytes in %s; measuring\n", bytes, checkpoint.folder().string());
  return TimeDrafting(options, checkpoint.folder());
}

int RunBenchDraft(std::span<const std::string_view> args) {
  const absl::StatusOr<BenchDraftOptions> options = ParseBenchDraftOptions(args);
  if (!options.ok()) {
    std::cerr << "bench draft: " << options.status().message() << "\n\n" << kBenchDraftUsage;
    return 2;
  }
  const absl::StatusOr<DraftBenchReport> report = MeasureDrafting(*options);
  if (!report.ok()) {
    std::cerr << "bench draft: " << report.status().message() << "\n";
    return 1;
  }
  std::cout << (options->json ? DraftReportJson(*report) : DraftReportTable(*report));
  return 0;
}

}  // namespace

int RunBenchCommand(std::span<const std::string_view> args) {
  if (std::find(args.begin(), args.end(), "--help") != args.end()) {
    std::cout << kBenchUsage << "\n" << kBenchDraftUsage;
    return 0;
  }
  if (!args.empty() && args[0] == "draft") {
    return RunBenchDraft(args.subspan(1));
  }
  const absl::StatusOr<BenchOptions> options = ParseBenchOptions(args);
  if (!options.ok()) {
    std::cerr << "bench: " << options.status().message() << "\n\n" << kBenchUsage;
    return 2;
  }
  const absl::StatusOr<BenchReport> report = Measure(*options);
  if (!report.ok()) {
    std::cerr << "bench: " << report.status().message() << "\n";
    return 1;
  }
  std::cout << (options->json ? ReportJson(*report) : ReportTable(*report));
  return 0;
}

}  // namespace sparkspan::deploy::cli
