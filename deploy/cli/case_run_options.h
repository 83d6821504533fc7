#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "deploy/cli/flags.h"
#include "engine/model/model.h"

namespace sparkspan::deploy::cli {

// What every command that runs cases of a file through a checkpoint is told.
struct CaseRunOptions {
  std::string model;
  std::string input;
  std::string output;
  int ranks = 1;
  bool experts_whole = false;
  std::int64_t chunk = 0;  // prompt tokens a step; 0: all at once
  engine::model::ModelOptions engine;
};

// The flags that fill it in. `options` must outlive the parsing.
Flags CaseRunFlags(CaseRunOptions* options);

// Refuses what a run cannot do without, by the flag's name.
absl::Status CheckCaseRun(const CaseRunOptions& options);

}  // namespace sparkspan::deploy::cli
