#pragma once

#include <span>
#include <string_view>

namespace sparkspan::deploy::cli {

// `sparkspan bench step`: what a step costs on this machine (docs/performance/cpu.md). Returns the
// program's exit status: 0, 1 when a part failed, 2 for wrong arguments.
int RunBenchCommand(std::span<const std::string_view> args);

}  // namespace sparkspan::deploy::cli
