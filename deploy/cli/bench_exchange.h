#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace sparkspan::deploy::cli {

// Medians of one all-reduce between two ranks, as threads of this process.
struct ExchangeTime {
  std::int64_t bytes = 0;  // of each rank's part
  double tcp_us = 0.0;     // over loopback sockets
  double local_us = 0.0;   // through memory
};

// Of 8 to 128 KiB, `exchanges` of each after a tenth as many that are not counted.
absl::StatusOr<std::vector<ExchangeTime>> TimeExchanges(int exchanges);

}  // namespace sparkspan::deploy::cli
