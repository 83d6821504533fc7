#pragma once

#include <span>
#include <string_view>

namespace sparkspan::deploy::cli {

// `sparkspan node`: what cluster.yaml gives one machine, started together: a worker for each of its
// ranks, and the head where it is the head's.
int RunNodeCommand(std::span<const std::string_view> args);

}  // namespace sparkspan::deploy::cli
