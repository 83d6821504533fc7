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

// The blocks that score keys of a part.
SIMT_DEVICE int blocks_of_part(const KeyPieces& pieces, int pieces_of_part, int part) {
  const int begin = part * pieces_of_part;
  const int rest = pieces.count - begin;
  const int end = begin + (rest < pieces_of_part ? rest : pieces_of_part);
  return (end - 1) / pieces.each - begin / pieces.each + 1;
}

// Grid: rows, stretches of keys.
// Limits: 248 registers; blocks per SM on sm_12x 2; streams words.
SIMT_KERNEL(kIndexThreads) select_entries(SelectArguments arguments) {
  auto& shared = simt::shared<TopKPartShared<kIndexWarps>>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index();
  const int visible = arguments.score.visible[row];
  if (visible <= arguments.top_k.k) {
    // A row that may have all its entries needs no scores.
    if (simt::block_index_y() == 0) {
      select_part(shared.top_k, shared.is_last, arguments.top_k, row, 0);
    }
    return;
  }
  const KeyPieces pieces =
      key_pieces(visible, simt::block_index_y(), blocks_of_row(arguments.score));
  if (pieces.begin >= pieces.end) {
    return;
  }
  score_keys(arguments.score, row, pieces);
  // Nobody selects before his share of the scores is done: others would wait for them.
  const int pieces_of_part = arguments.top_k.part_keys / kKeysPerBlock;
  for (int part = pieces.begin / pieces_of_part; part * pieces_of_part < pieces.end; ++part) {
    if (simt::arrive_last(arguments.arrivals + row * TopKParts(arguments.top_k) + part,
                          blocks_of_part(pieces, pieces_of_part, part),
                          shared.is_last)) {
      select_part(shared.top_k, shared.is_last, arguments.top_k, row, part);
    }
  }
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
