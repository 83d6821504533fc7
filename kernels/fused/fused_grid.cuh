#pragma once

#include "kernels/fused/fused.h"
#include "kernels/linear/linear_tile.cuh"
#include "kernels/simt/grid.h"

// The shapes of fused launches, and which of them take their arguments.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

// Launches the instance whose tiles of eight hold the rows: one, two or six.
template <class One, class Two, class Six>
int by_rows(int rows, const One& one, const Two& two, const Six& six) {
  return rows <= 8 ? one() : rows <= 16 ? two() : six();
}

inline GridShape fused_grid(int tiles) {
  return {.blocks = {tiles, 1, 1}, .threads = kLinearThreads, .dependent = true};
}
inline bool fits_fused(const LinearArguments& product) {
  return product.rows <= kFusedRowsMax && product.k % kScaleColumns == 0;
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
