#pragma once

#include <cstdint>
#include <vector>

#include "engine/weights/checkpoint_index.h"
#include "engine/weights/shard_plan.h"

// Which bytes of which files are read for a rank's slices, and how: computed from the headers
// alone. At most 2 % more is read than the slices hold: half of one percent between stretches that
// nearly touch, under one percent to make long reads begin and end at block boundaries.
namespace sparkspan::engine::weights {

inline constexpr std::uint64_t kReadBlock = 4096;                       // of unbuffered reads
inline constexpr std::uint64_t kStagingBytes = std::uint64_t{4} << 20;  // of one reader's buffer
// Shorter runs are read to the byte: their blocks would add more than the bound allows.
inline constexpr std::uint64_t kDirectRunBytesMin = std::uint64_t{1} << 20;

// What a slice takes from its file: rows of row_bytes, `stride` bytes apart in the file, end to end
// in the arena. One row: all of it lies together.
struct ReadStretch {
  std::size_t slice = 0;  // into ShardPlan::slices
  int file = 0;           // into CheckpointIndex::files
  std::uint64_t offset = 0;
  std::uint64_t row_bytes = 0;
  std::uint64_t stride = 0;
  std::uint64_t rows = 1;
  std::uint64_t arena_offset = 0;

  std::uint64_t end() const { return offset + (rows - 1) * stride + row_bytes; }
};

enum class ReadWay : std::uint8_t {
  kDirect,    // whole blocks past the page cache into staging, where the file system can
  kBuffered,  // to the byte, into staging
  kPieces,    // row by row into the arena: what lies between rows is not asked for
};

struct ReadTask {
  int file = 0;
  ReadWay way = ReadWay::kBuffered;
  // Of the file; at most kStagingBytes unless kPieces. A direct one may end behind the file's end.
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  // Stretches with bytes in there. kPieces: one, of which these rows.
  std::size_t first_stretch = 0;
  std::size_t stretches = 0;
  std::uint64_t first_row = 0;
  std::uint64_t rows = 0;
};

struct ReadPlan {
  std::vector<ReadStretch> stretches;
  std::vector<ReadTask> tasks;  // by file and offset
  std::uint64_t bytes = 0;      // that all tasks read
};

ReadPlan PlanReads(const ShardPlan& shard, const CheckpointIndex& index);

}  // namespace sparkspan::engine::weights
