#pragma once

#include <cstdint>

namespace sparkspan::engine {

// Bytes of this process that are in memory now (/proc/self/statm); 0 where that cannot be read.
std::int64_t ResidentBytes();

}  // namespace sparkspan::engine
