#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/weights/checkpoint.h"

namespace sparkspan::engine::weights {

// What head and ranks compare to be sure that they read copies of one checkpoint, without reading a
// weight: the bytes of config.json, the names and sizes of the shards, and every tensor's name,
// type, shape and place in them. Two releases that differ in values alone have equal hashes; the
// digests of the first step tell those apart. Takes milliseconds.
absl::StatusOr<std::uint64_t> CheckpointHash(const Checkpoint& checkpoint);

}  // namespace sparkspan::engine::weights
