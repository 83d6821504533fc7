#pragma once

#include <cstdint>

namespace sparkspan::head::cluster {

// What the connections to one worker have carried since the head started.
struct LinkTraffic {
  std::uint64_t sent_bytes = 0;  // to the worker
  std::uint64_t received_bytes = 0;
};

}  // namespace sparkspan::head::cluster
