#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/config/propose_config.h"

namespace sparkspan::deploy::cli {

// What `sparkspan init --describe` prints on one node and `sparkspan init --with` reads on another:
// versioned JSON.
std::string ToJson(const engine::config::NodeDescription& node);

// `file` is for messages.
absl::StatusOr<engine::config::NodeDescription> ParseNodeDescription(std::string_view json,
                                                                     const std::string& file);

}  // namespace sparkspan::deploy::cli
