#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "deploy/cli/draft_driver.h"
#include "engine/weights/checkpoint.h"

namespace sparkspan::deploy::cli {

struct BenchClass {
  std::string name;
  std::vector<DraftBenchRequest> requests;
};

// The first `requests` chat requests of every class ("task") of a file in the form of
// deploy/demo/evaluation.json, those that think as a class of their own ("NAME, thinking"), as
// prompts of the checkpoint's tokenizer. Errors name the file and the case.
absl::StatusOr<std::vector<BenchClass>> ReadBenchCases(
    const std::filesystem::path& file,
    const engine::weights::Checkpoint& checkpoint,
    int requests,
    std::int64_t max_tokens);

}  // namespace sparkspan::deploy::cli
