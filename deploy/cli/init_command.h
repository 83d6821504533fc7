#pragma once

#include <span>
#include <string_view>

namespace sparkspan::deploy::cli {

// `sparkspan init`: proposes a cluster.yaml from what the nodes are seen to have.
int RunInitCommand(std::span<const std::string_view> args);

}  // namespace sparkspan::deploy::cli
