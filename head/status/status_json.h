#pragma once

#include <cstdint>
#include <string>

#include "head/api/generation.h"

namespace sparkspan::head::status {

// What a status says besides the engine's.
struct ServedFacts {
  std::string model_name;
  std::string version;
  std::string encoding_profile;     // the one in force
  std::int64_t context_length = 0;  // as configured
};

// The engine's status as JSON, for scripts and for the page: state, queue, cache, ranks with their
// interfaces and connections, what failed last, start-up phases.
std::string StatusJson(const ServedFacts& served, const api::EngineStatus& engine);

}  // namespace sparkspan::head::status
