#pragma once

#include <span>
#include <string_view>

namespace sparkspan::deploy::cli {

// `sparkspan serve`: head and workers of one machine from flags, supervised. Returns the program's
// exit status: 0 after a signal, 1 when a part failed, 2 for wrong arguments.
int RunServeCommand(std::span<const std::string_view> args);

}  // namespace sparkspan::deploy::cli
