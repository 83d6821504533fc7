#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "deploy/cli/case_run_options.h"
#include "engine/base/ids.h"

namespace sparkspan::deploy::cli {

struct ScoreOptions : CaseRunOptions {
  bool trace = false;
  std::map<int, std::string> inject;  // layer -> safetensors file
};

struct ScoreCase {
  std::string name;
  std::vector<engine::Token> tokens;
  std::vector<engine::Token> decode_tokens;
};

extern const char* const kScoreUsage;

absl::StatusOr<ScoreOptions> ParseScoreOptions(std::span<const std::string_view> args);

// The cases of an input file: {"cases": [{"name": ..., "tokens": [...], "decode_tokens": [...]}]}.
absl::StatusOr<std::vector<ScoreCase>> ReadScoreCases(const std::string& file);

}  // namespace sparkspan::deploy::cli
