#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "deploy/cli/bench_options.h"
#include "deploy/cli/read_bandwidth.h"
#include "deploy/cli/weight_traffic.h"

namespace sparkspan::deploy::cli {

// Loading, of the rank that took longest at each part.
struct LoadTimes {
  double open_s = 0.0;          // configuration and headers
  double plan_s = 0.0;          // what of which file is read, and memory for it
  double read_s = 0.0;          // all ranks read at the same time
  double check_s = 0.0;         // of routing tables
  double bind_s = 0.0;          // views of the tensors, the model
  std::int64_t read_bytes = 0;  // of all ranks
};

struct StepTimes {
  LoadTimes load;
  // Steps of one decoded token: all of it, of that inside the model, and choosing the token;
  // [steps].
  std::vector<double> decode_s;
  std::vector<double> forward_s;
  std::vector<double> sample_s;
  // Passes over memory between those steps; bytes per second.
  std::vector<double> bandwidth;
  // Of one decoded token, the mean over the steps, all ranks together.
  WeightTraffic traffic;
  double prefill_s = 0.0;
};

// Loads the checkpoint into ranks of this process and runs requests through scheduler, plan codec
// and executors, as a head and its workers do, save that nothing crosses a network. A step's time
// runs from planning it to having its tokens.
absl::StatusOr<StepTimes> TimeSteps(const BenchOptions& options,
                                    const std::filesystem::path& checkpoint,
                                    ReadBandwidth& bandwidth);

}  // namespace sparkspan::deploy::cli
