#include "engine/weights/shard_plan.h"

#include "engine/base/status.h"

namespace sparkspan::engine::weights {
namespace {

// What the rank computes with; an empty range: nothing of this tensor.
void Divide(const ModelShape& shape, const RankShare& share, TensorSlice* slice) {
  const TensorSpec& spec = slice->spec;
  slice->rows = {0, spec.rows};
  slice->columns = {0, spec.columns};
  const Range groups = ShareOf(shape.ops.groups, share.rank, share.ranks);
  const auto by_group = [&](std::int64_t count) {
    const std::int64_t each = count / shape.ops.groups;
    return Range{groups.begin * each, groups.end * each};
  };
  Range width = WidthOf(shape, share);
  if (spec.expert >= 0 && share.experts_whole) {
    const Range own = ShareOf(shape.ops.experts, share.rank, share.ranks);
    const bool mine = spec.expert >= own.begin && spec.expert < own.end;
    width = {0, mine ? shape.expert_width : 0};
  }
  switch (spec.division) {
    case Division::kWhole:
      break;
    case Division::kVocabularyRows:
      slice->rows = ShareOf(spec.rows, share.rank, share.ranks);
      break;
    case Division::kGroupRows:
      slice->rows = by_group(spec.rows);
      break;
    case Division::kGroupColumns:
      slice->columns = by_group(spec.columns);
      break;
    case Division::kWidthRows:
      slice->rows = width;
      break;
    case Division::kWidthColumns:
      slice->columns = width;
      break;
  }
}

// The stored elements that cover a range; a scale that covers a block only part of which is the
// rank's is loaded whole.
Range Cover(Range range, std::int64_t element) {
  return {range.begin / element, (range.end + element - 1) / element};
}

}  // namespace

absl::StatusOr<ShardPlan> PlanShard(const ModelShape& shape,
                                    const RankShare& share,
                                    bool with_draft) {
  RETURN_IF_ERROR(CheckShare(shape, share));
  ShardPlan plan;
  plan.share = share;
  for (TensorSpec& spec : ExpectedTensors(shape)) {
    if (spec.draft && !with_draft) {
      continue;
    }
    TensorSlice slice;
    slice.spec = std::move(spec);
    // Drafting looks tokens up in every pass: held whole, that takes no exchange.
    if (with_draft && shape.draft != DraftKind::kNone && slice.spec.name == "embed.weight") {
      slice.spec.division = Division::kWhole;
    }
    Divide(shape, share, &slice);
    if (slice.rows.size() == 0 || slice.columns.size() == 0) {
      continue;
    }
    slice.stored_rows = Cover(slice.rows, slice.spec.element_rows);
    slice.stored_columns = Cover(slice.columns, slice.spec.element_columns);
    slice.arena_offset = plan.arena_bytes;
    const std::int64_t bytes = slice.bytes();
    plan.slice_bytes += bytes;
    plan.arena_bytes += (bytes + kSliceAlignment - 1) / kSliceAlignment * kSliceAlignment;
    const bool vector = slice.spec.shape.size() == 1;
    if ((vector && slice.spec.dtype == Dtype::kBf16) || slice.spec.dtype == Dtype::kI64) {
      plan.widened_bytes += bytes / DtypeBytes(slice.spec.dtype) * 4;
    }
    plan.slices.push_back(std::move(slice));
  }
  return plan;
}

}  // namespace sparkspan::engine::weights
