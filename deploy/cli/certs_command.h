#pragma once

#include <span>
#include <string_view>

namespace sparkspan::deploy::cli {

// `sparkspan certs`: a cluster's authority and its nodes' certificates.
int RunCertsCommand(std::span<const std::string_view> args);

}  // namespace sparkspan::deploy::cli
