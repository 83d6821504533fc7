#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "deploy/cli/bench_options.h"

namespace sparkspan::deploy::cli {

extern const char* const kBenchDraftUsage;

struct BenchDraftOptions {
  std::filesystem::path model;  // a checkpoint with a drafter; empty: a random one
  std::filesystem::path cases;  // {"cases": [{"task": ..., "request": {"messages": ...}}]}
  // Of the random checkpoint; `seed` also that of prompts.
  BenchOptions random;
  bool oracle = false;       // drafts are replaced by the text that plain decoding gives
  int requests = 8;          // of each class
  std::int64_t tokens = 96;  // of an answer, at most
  int sequences = 8;         // at once, at saturation
  int repeats = 3;           // of saturation, each of the policies in turn
  int ranks = 1;
  int threads = 2;
  bool json = false;
};

// The arguments after `bench draft`. Errors name the flag, its value and what is expected.
absl::StatusOr<BenchDraftOptions> ParseBenchDraftOptions(std::span<const std::string_view> args);

}  // namespace sparkspan::deploy::cli
