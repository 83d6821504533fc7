#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "deploy/cli/case_run_options.h"
#include "engine/base/ids.h"

namespace sparkspan::deploy::cli {

struct DraftOptions : CaseRunOptions {
  int mtp_block = 1;
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
