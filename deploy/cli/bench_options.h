#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"

namespace sparkspan::deploy::cli {

extern const char* const kBenchUsage;

struct BenchOptions {
  std::int64_t checkpoint_bytes = 2'000'000'000;  // of weights, at least
  std::filesystem::path folder;                   // empty: a temporary one
  bool keep = false;
  int draft_stages = 0;  // of a DSpark drafter
  bool json = false;
  int threads = 2;  // of each rank, and of the bandwidth measured beside
  int ranks = 1;
  std::int64_t context = 128;                           // tokens in front of the decoded ones
  std::int64_t prefill = 512;                           // tokens of the prompt that is timed
  int steps = 64;                                       // decode steps that are timed
  int exchanges = 200;                                  // of each size and kind
  std::int64_t buffer_bytes = std::int64_t{512} << 20;  // that the bandwidth is measured on
  std::uint64_t seed = 1;                               // of weights, prompts and sampling
};

// The arguments after `bench`: "step", then flags, as "--flag value" or "--flag=value". Errors name
// the flag, its value and what is expected.
absl::StatusOr<BenchOptions> ParseBenchOptions(std::span<const std::string_view> args);

}  // namespace sparkspan::deploy::cli
