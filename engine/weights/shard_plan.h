#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/weights/rank_share.h"
#include "engine/weights/tensor_specs.h"

// What of each tensor one rank holds, and where in its arena: computed from the shape alone.
namespace sparkspan::engine::weights {

// Every slice begins at a multiple of this in the arena: a cache line, a vector
// load and a bulk copy of a GPU all divide it.
inline constexpr std::int64_t kSliceAlignment = 256;

struct TensorSlice {
  TensorSpec spec;
  // Of the weight's matrix (spec.rows, spec.columns), what the rank computes with.
  Range rows;
  Range columns;
  // Of the stored tensor, what is loaded: the elements that cover those.
  Range stored_rows;
  Range stored_columns;
  std::int64_t arena_offset = 0;

  std::int64_t row_bytes() const { return stored_columns.size() * DtypeBytes(spec.dtype); }
  std::int64_t bytes() const { return stored_rows.size() * row_bytes(); }
};

struct ShardPlan {
  RankShare share;
  std::vector<TensorSlice> slices;  // none is empty; in the order of ExpectedTensors
  std::int64_t slice_bytes = 0;     // of checkpoint data
  std::int64_t arena_bytes = 0;     // with alignment
  // What engine/model makes of them beside: bf16 vectors as fp32, routing tables as 32-bit ids.
  std::int64_t widened_bytes = 0;
};

// `with_draft`: the draft stages too, and the whole embedding. Errors: CheckShare's.
absl::StatusOr<ShardPlan> PlanShard(const ModelShape& shape,
                                    const RankShare& share,
                                    bool with_draft);

}  // namespace sparkspan::engine::weights
