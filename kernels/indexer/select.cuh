#pragma once

#include "kernels/indexer/index_score.cuh"
#include "kernels/indexer/select.h"
#include "kernels/indexer/top_k.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

// Scores and their top k in one launch: the block that finishes a part's scores selects among them
// while others are still being scored, and the last of those joins the parts.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

// Grid: rows, stretches of keys.
// Limits: 248 registers.
SIMT_KERNEL(kIndexThreads) select_entries(SelectArguments arguments) {
  auto& shared = simt::shared<TopKPartShared<kIndexWarps>>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index();
  const int block = simt::block_index_y();
  const int visible = arguments.score.visible[row];
  // A row that may have all its entries needs no scores.
  const bool all = visible <= arguments.top_k.k;
  const int blocks = all ? 1 : (visible + kKeysPerBlock - 1) / kKeysPerBlock;
  if (block >= blocks) {
    return;
  }
  const int blocks_of_part = arguments.top_k.part_keys / kKeysPerBlock;
  const int part = block / blocks_of_part;
  if (!all) {
    score_keys(arguments.score, row, block);
    const int rest = blocks - part * blocks_of_part;
    if (!simt::arrive_last(arguments.arrivals + row * TopKParts(arguments.top_k) + part,
                           rest < blocks_of_part ? rest : blocks_of_part,
                           shared.is_last)) {
      return;
    }
  }
  select_part(shared.top_k, shared.is_last, arguments.top_k, row, part);
}

inline int run_select(const SelectArguments& arguments, void* stream) {
  if (!holds(arguments.score) || !holds(arguments.top_k) ||
      arguments.top_k.part_keys % kKeysPerBlock != 0 ||
      arguments.score.scores != arguments.top_k.scores ||
      arguments.score.row_stride != arguments.top_k.row_stride ||
      arguments.score.visible != arguments.top_k.visible) {
    return kInvalidArguments;
  }
  return simt::launch<TopKPartShared<kIndexWarps>>(
      grid_of(arguments.score), stream, select_entries, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
