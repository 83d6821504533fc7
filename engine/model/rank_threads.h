#pragma once

#include <functional>

#include "absl/status/status.h"
#include "engine/collective/communicator.h"

namespace sparkspan::engine::model {

// Runs the ranks of one model as threads of this process that exchange through memory: body(rank,
// communicator) on each, the communicator null for a single rank. Returns when all have ended: OK,
// or the first error. An error of one rank ends the exchanges of the others. ranks: 1 to 64.
absl::Status RunRankThreads(
    int ranks, const std::function<absl::Status(int, collective::Communicator*)>& body);

}  // namespace sparkspan::engine::model
