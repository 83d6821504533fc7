#pragma once

#include <string>

#include "head/api/generation.h"

namespace sparkspan::head::status {

// The engine's status as JSON, for scripts and for the page: state, queue, cache, ranks with their
// interfaces and connections, what failed last, start-up phases.
std::string StatusJson(const std::string& model_name,
                       const std::string& version,
                       const api::EngineStatus& engine);

}  // namespace sparkspan::head::status
