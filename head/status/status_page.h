#pragma once

#include <string>
#include <vector>

#include "head/api/generation.h"

namespace sparkspan::head::status {

// The engine's status as JSON, for scripts: state, queue, cache, ranks, start-up phases.
std::string StatusJson(const std::string& model_name,
                       const std::string& version,
                       const api::EngineStatus& engine);

// The same for people: one page without scripts that reloads itself.
std::string StatusHtml(const std::string& model_name,
                       const std::string& version,
                       const api::EngineStatus& engine);

}  // namespace sparkspan::head::status
