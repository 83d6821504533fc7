#pragma once

#include "kernels/linear/linear.h"
#include "kernels/linear/linear_tile.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

// Limits: 200 registers; blocks per SM on sm_12x 3 <1>, 2 <2>, 2 <6>; 4 weights before the wait.
template <class Format, int kTiles>
SIMT_KERNEL(kLinearThreads)
linear(LinearBatch batch) {
  auto& shared = simt::shared<LinearShared>();
  simt::dependency_trigger();
  const PartOfBatch of = find_part(batch, simt::block_index());
  linear_tile<Format, kTiles>(
      shared, of.arguments, of.tile_row, simt::block_index_y() * kTiles * kRowsPerTile);
}

template <class Format, int kTiles>
int run_linear_tiles(const LinearBatch& batch, void* stream) {
  return simt::launch<LinearShared>(grid_of(batch, kTiles), stream, linear<Format, kTiles>, batch);
}

template <class Format>
int run_linear_format(const LinearBatch& batch, void* stream) {
  const int rows = batch.part[0].rows;
  if (rows <= 8) {
    return run_linear_tiles<Format, 1>(batch, stream);
  }
  if (rows <= 16) {
    return run_linear_tiles<Format, 2>(batch, stream);
  }
  if (rows <= 48) {
    return run_linear_tiles<Format, 6>(batch, stream);
  }
  return run_linear_tiles<Format, 12>(batch, stream);
}

inline int run_linears(const LinearBatch& batch, void* stream) {
  const LinearArguments& first = batch.part[0];
  if (batch.parts < 1 || batch.parts > kLinearPartsMax || first.k % kScaleColumns != 0) {
    return kInvalidArguments;
  }
  if (first.weight_format == WeightFormat::kBf16) {
    return run_linear_format<Bf16ByBf16>(batch, stream);
  }
  if (first.weight_format == WeightFormat::kE2m1) {
    return run_linear_format<E2m1ByE4m3>(batch, stream);
  }
  return first.activation_format == ActivationFormat::kE4m3
             ? run_linear_format<E4m3ByE4m3>(batch, stream)
             : run_linear_format<E4m3ByBf16>(batch, stream);
}

inline int run_linear(const LinearArguments& arguments, void* stream) {
  return run_linears(LinearBatch{{arguments}, 1}, stream);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
