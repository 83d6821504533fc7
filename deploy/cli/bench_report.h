#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "deploy/cli/bench_exchange.h"
#include "deploy/cli/bench_options.h"
#include "deploy/cli/bench_step.h"
#include "engine/weights/model_shape.h"

namespace sparkspan::deploy::cli {

// All that one run measured.
struct BenchReport {
  BenchOptions options;
  engine::weights::ModelShape shape;
  std::int64_t checkpoint_bytes = 0;
  bool checkpoint_reused = false;
  int processors = 0;         // that this process may use
  std::string vector_target;  // instructions of the products
  double load_before = 0.0;   // runnable threads, the mean of a minute, before the run
  double load_after = 0.0;
  StepTimes steps;
  std::vector<ExchangeTime> exchanges;
};

// What is derived of the times; shares and speeds compare figures of the one run.
struct BenchFigures {
  double decode_tokens_per_s = 0.0;  // over all timed steps
  double decode_median_s = 0.0;
  double decode_best_s = 0.0;
  double weight_bytes_per_token = 0.0;
  double bandwidth_median = 0.0;  // bytes per second
  double bandwidth_best = 0.0;
  // Weight bytes per second of the median step, of the median pass over memory; and of the two
  // fastest, which other work on the machine disturbed least.
  double share_median = 0.0;
  double share_best = 0.0;
  double prefill_tokens_per_s = 0.0;
  // A step less the model's part of it.
  double outside_median_us = 0.0;
  double outside_p99_us = 0.0;
  double sample_median_us = 0.0;  // of that, choosing the token
  double read_bytes_per_s = 0.0;  // of the checkpoint's files
};

BenchFigures FiguresOf(const BenchReport& report);

std::string ReportTable(const BenchReport& report);

// One object, "version" 1; names end in units. What docs/performance/cpu.md says of the table holds
// for the fields of the same name.
std::string ReportJson(const BenchReport& report);

}  // namespace sparkspan::deploy::cli
