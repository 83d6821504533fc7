#pragma once

#include <cstdint>
#include <span>
#include <stop_token>

#include "absl/status/statusor.h"
#include "engine/weights/checkpoint_index.h"
#include "engine/weights/read_plan.h"
#include "engine/weights/shard_plan.h"

namespace sparkspan::engine::weights {

struct ReadCounters {
  std::uint64_t bytes = 0;         // that reads returned
  std::uint64_t direct_bytes = 0;  // of them, past the page cache
  std::uint64_t reads = 0;
};

// Carries out the plan: reads into `arena` with `threads` readers, each with a staging buffer of
// kStagingBytes, checking FP8 weights and scales for NaN codes on the way. Pages that buffered
// reads leave in the page cache are given up. Errors name the file or tensor: a file that cannot be
// read or changed its size since its header was, a NaN. Cancelled once `stop` is requested, after
// the read that each reader is in. After an error the arena's contents are undefined.
absl::StatusOr<ReadCounters> ReadSlices(const ShardPlan& shard,
                                        const CheckpointIndex& index,
                                        const ReadPlan& plan,
                                        int threads,
                                        std::span<std::byte> arena,
                                        const std::stop_token& stop = {});

}  // namespace sparkspan::engine::weights
