#pragma once

#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"
#include "tests/unit/kernels/simt/leaves.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

struct WarpLeavesShared {
  simt::SharedArray<float, kLeafThreads> of_warps;
  simt::SharedArray<float, kLeafThreads> of_block;
  simt::SharedArray<float, kLeafThreads / 32> partial;
};

SIMT_KERNEL(kLeafThreads) warp_leaves(WarpLeavesArguments arguments) {
  auto& shared = simt::shared<WarpLeavesShared>();
  const int thread = simt::thread_index();
  const float value = arguments.in[thread];

  const float from_above = simt::shuffle_down(value, 3);
  arguments.shifted[thread] = simt::lane_index() < 29 ? from_above : value;
  arguments.any[thread] = simt::any(value > 40) ? 1 : 0;
  arguments.powers[thread] = simt::exp2(value);
  arguments.largest[thread] = simt::block_max(value, shared.partial);

  shared.of_warps[thread] = value;
  simt::sync_warp();
  arguments.warp_reversed[thread] = shared.of_warps[thread ^ 31];
  shared.of_block[thread] = value;
  simt::named_barrier(1, kLeafThreads);
  arguments.block_reversed[thread] = shared.of_block[kLeafThreads - 1 - thread];

  simt::fence_device();
  simt::atomic_max(arguments.global, thread);
  arguments.took[thread] = simt::atomic_compare_exchange(arguments.global + 1, 0, -1) == 0 ? 1 : 0;
}

struct BulkTilesShared {
  simt::SharedArray<float, kLeafTile> tile;
  simt::Mbarrier arrived;
};

SIMT_KERNEL(kLeafThreads) bulk_tiles(BulkTilesArguments arguments) {
  auto& shared = simt::shared<BulkTilesShared>();
  if (simt::thread_index() == 0) {
    shared.arrived.init(1);
  }
  simt::sync_block();
  for (int tile = 0; tile < 2; ++tile) {
    if (simt::thread_index() == 0) {
      constexpr int kBytes = kLeafTile * 4;
      shared.arrived.arrive_expect(kBytes);
      simt::bulk_copy(shared.tile.from(0), arguments.in + tile * kLeafTile, kBytes, shared.arrived);
    }
    shared.arrived.wait(tile);
    for (int i : simt::block_stride(kLeafTile)) {
      arguments.out[tile * kLeafTile + i] = shared.tile[kLeafTile - 1 - i];
    }
    simt::sync_block();
  }
}

SIMT_KERNEL(32) e4m3_product(E4m3ProductArguments arguments) {
  float sum[4] = {};
  simt::mma_e4m3_m16n8k32(sum,
                          simt::load_vector<4>(arguments.a + simt::lane_index() * 4),
                          simt::load_vector<2>(arguments.b + simt::lane_index() * 2));
  simt::for_each(sum,
                 [&](int row, int column, float value) { arguments.c[row * 8 + column] = value; });
}

inline int run_warp_leaves(const WarpLeavesArguments& arguments, void* stream) {
  return simt::launch<WarpLeavesShared>(
      GridShape{.threads = kLeafThreads}, stream, warp_leaves, arguments);
}
inline int run_bulk_tiles(const BulkTilesArguments& arguments, void* stream) {
  return simt::launch<BulkTilesShared>(
      GridShape{.threads = kLeafThreads}, stream, bulk_tiles, arguments);
}
inline int run_e4m3_product(const E4m3ProductArguments& arguments, void* stream) {
  return simt::launch<simt::NoShared>(GridShape{.threads = 32}, stream, e4m3_product, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
