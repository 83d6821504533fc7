#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/config/local_config.h"

namespace sparkspan::deploy::cli {

extern const char* const kServeUsage;

struct ServeOptions {
  // All but the ports of the ranks, which are chosen at start.
  engine::config::LocalCluster cluster;
  int ranks = 1;
  bool has_context_length = false;  // else the checkpoint's, up to a default
  bool has_kv_tokens = false;       // else every sequence can be of full length
};

// Errors name the flag, its value and what is expected.
absl::StatusOr<ServeOptions> ParseServeOptions(std::span<const std::string_view> args);

}  // namespace sparkspan::deploy::cli
