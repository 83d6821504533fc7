#pragma once

#include "kernels/indexer/index_score.cuh"
#include "kernels/indexer/select.h"
#include "kernels/indexer/top_k.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

// Scores and their top k in one launch: the block that finishes a row's scores selects among them
// while other rows are still being scored.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

struct SelectShared {
  TopKShared<kIndexWarps> top_k;
  simt::SharedArray<int, 1> is_last;
};

// Grid: stretches of keys, rows.
// Limits: 248 registers.
SIMT_KERNEL(kIndexThreads) select_entries(SelectArguments arguments) {
  auto& shared = simt::shared<SelectShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index_y();
  const int block = simt::block_index();
  const int visible = arguments.score.visible[row];
  // A row that may have all its entries needs no scores.
  const bool all = visible <= arguments.top_k.k;
  const int blocks = all ? 1 : (visible + kKeysPerBlock - 1) / kKeysPerBlock;
  if (block >= blocks) {
    return;
  }
  if (!all) {
    score_keys(arguments.score, row, block);
    if (!simt::arrive_last(arguments.arrivals + row, blocks, shared.is_last)) {
      return;
    }
  }
  select_row(shared.top_k, arguments.top_k, row);
}

inline int run_select(const SelectArguments& arguments, void* stream) {
  if (!holds(arguments.score) || arguments.score.scores != arguments.top_k.scores ||
      arguments.score.visible != arguments.top_k.visible) {
    return kInvalidArguments;
  }
  return simt::launch<SelectShared>(grid_of(arguments.score), stream, select_entries, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
