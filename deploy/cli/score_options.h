#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/model/model.h"

namespace sparkspan::deploy::cli {

struct ScoreOptions {
  std::string model;
  std::string input;
  std::string output;
  int ranks = 1;
  bool experts_whole = false;
  std::int64_t chunk = 0;  // prompt tokens a step; 0: all at once
  bool trace = false;
  std::map<int, std::string> inject;  // layer -> safetensors file
  engine::model::ModelOptions engine;
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
