#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/model/model.h"

namespace sparkspan::deploy::cli {

struct DraftOptions {
  std::string model;
  std::string input;
  std::string output;
  int ranks = 1;
  bool experts_whole = false;
  std::int64_t chunk = 0;  // prompt tokens a step; 0: all at once
  int mtp_block = 1;
  engine::model::ModelOptions engine;
};

struct DraftCase {
  std::string name;
  std::int64_t prompt_length = 0;  // at least 1
  std::int64_t steps = 0;          // at least 1
  // At least prompt_length + steps tokens.
  std::vector<engine::Token> sequence;
};

extern const char* const kDraftUsage;

absl::StatusOr<DraftOptions> ParseDraftOptions(std::span<const std::string_view> args);

// The cases of an input file:
// {"cases": [{"name": ..., "prompt_length": ..., "sequence": [...], "steps": ...}]}.
absl::StatusOr<std::vector<DraftCase>> ReadDraftCases(const std::string& file);

}  // namespace sparkspan::deploy::cli
