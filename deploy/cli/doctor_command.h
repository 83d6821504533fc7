#pragma once

#include <span>
#include <string_view>

namespace sparkspan::deploy::cli {

// `sparkspan doctor`: looks at this machine as cluster.yaml wants it, and says what is wrong.
int RunDoctorCommand(std::span<const std::string_view> args);

}  // namespace sparkspan::deploy::cli
