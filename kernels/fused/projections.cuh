#pragma once

#include "kernels/attention/latent.cuh"
#include "kernels/compressor/pool.cuh"
#include "kernels/fused/fused.h"
#include "kernels/fused/fused_grid.cuh"
#include "kernels/indexer/index_vector.cuh"
#include "kernels/linear/linear_tile.cuh"
#include "kernels/norm/row.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

// Products of attention, finished by the block that comes last: eight warps all through.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

struct ProjectionShared {
  LinearShared product;
  simt::SharedArray<float, kLinearWarps> partial;
  simt::SharedArray<int, 1> is_last;
};

SIMT_DEVICE void finish_compressor(ProjectionShared& shared, const LatentsArguments& arguments) {
  for (int entry = 0; entry < arguments.entries.entries; ++entry) {
    make_entry(arguments.entries, entry, shared.partial);
  }
  // The norm of an entry stands between all that it read of the ring and what overwrites it.
  for (int row = 0; row < arguments.ring.row_count; ++row) {
    write_ring(arguments.ring, row);
  }
}

SIMT_DEVICE void finish_index_compressor(const LatentsArguments& arguments) {
  for (int entry = simt::warp_index(); entry < arguments.keys.entries; entry += kLinearWarps) {
    make_key(arguments.keys, entry);
  }
  // Keys read what the ring held before.
  simt::sync_block();
  for (int row = 0; row < arguments.key_ring.row_count; ++row) {
    write_ring(arguments.key_ring, row);
  }
}

SIMT_DEVICE LinearBatch latent_products(const LatentsArguments& arguments) {
  return {{arguments.query,
           arguments.entry,
           arguments.compressor,
           arguments.index_compressor,
           arguments.index_weights},
          5};
}

// Limits: 200 registers; blocks per SM on sm_12x 3 <1>, 2 <2>, 2 <6>; 12 weights before the wait.
template <int kTiles>
SIMT_KERNEL(kLinearThreads)
latents(LatentsArguments arguments) {
  auto& shared = simt::shared<ProjectionShared>();
  simt::dependency_trigger();
  const PartOfBatch of = find_part(latent_products(arguments), simt::block_index());
  if (of.part < 2) {
    linear_tile<E4m3ByE4m3, kTiles>(shared.product, of.arguments, of.tile_row, 0);
  } else {
    linear_tile<Bf16ByBf16, kTiles>(shared.product, of.arguments, of.tile_row, 0);
  }
  if (of.part == 4 ||
      !simt::arrive_last(arguments.arrivals + of.part, TilesDown(of.arguments.n), shared.is_last)) {
    return;
  }
  if (of.part == 0) {
    for (int row = 0; row < arguments.query_norm.rows; ++row) {
      normalize_stored_row(arguments.query_norm, row, shared.partial);
    }
  } else if (of.part == 1) {
    for (int row = 0; row < arguments.entry_write.rows; ++row) {
      write_entry(arguments.entry_write, row, shared.partial);
    }
  } else if (of.part == 2) {
    finish_compressor(shared, arguments);
  } else {
    finish_index_compressor(arguments);
  }
}

constexpr int kTilesOfHead = kHeadDim / kTileRows;
constexpr int kTilesOfIndexHead = kIndexDim / kTileRows;

// Limits: 200 registers; blocks per SM on sm_12x 3 <1>, 3 <2>, 2 <6>; 4 weights before the wait.
template <int kTiles>
SIMT_KERNEL(kLinearThreads)
queries(QueriesArguments arguments) {
  auto& shared = simt::shared<ProjectionShared>();
  simt::dependency_trigger();
  const int heads = arguments.prepare.heads;
  const bool indexes = simt::block_index() >= heads * kTilesOfHead;
  const int tile_row = simt::block_index() - (indexes ? heads * kTilesOfHead : 0);
  const LinearArguments product = indexes ? arguments.index_query : arguments.query;
  linear_tile<E4m3ByE4m3, kTiles>(shared.product, product, tile_row, 0);
  const int tiles = indexes ? kTilesOfIndexHead : kTilesOfHead;
  const int head = tile_row / tiles;
  if (!simt::arrive_last(
          arguments.arrivals + (indexes ? heads : 0) + head, tiles, shared.is_last)) {
    return;
  }
  if (indexes) {
    for (int row = simt::warp_index(); row < arguments.index.rows; row += kLinearWarps) {
      make_index_query(arguments.index, row * arguments.index.heads + head);
    }
  } else {
    for (int row = 0; row < arguments.prepare.rows; ++row) {
      prepare_query(arguments.prepare, row * heads + head, shared.partial);
    }
  }
}

// Limits: 200 registers; blocks per SM on sm_12x 4 <1>, 2 <2>, 2 <6>; 4 weights before the wait.
template <int kTiles>
SIMT_KERNEL(kLinearThreads)
output(OutputArguments arguments) {
  auto& shared = simt::shared<ProjectionShared>();
  simt::dependency_trigger();
  linear_tile<E4m3ByBf16, kTiles>(shared.product, arguments.product, simt::block_index(), 0);
  constexpr int kTilesOfGroup = kGroupColumns / kTileRows;
  const int group = simt::block_index() / kTilesOfGroup;
  if (!simt::arrive_last(arguments.arrivals + group, kTilesOfGroup, shared.is_last)) {
    return;
  }
  const int groups = arguments.quantize.width / kGroupColumns;
  for (int row = simt::warp_index(); row < arguments.quantize.rows; row += kLinearWarps) {
    quantize_stored_group(arguments.quantize, static_cast<std::int64_t>(row) * groups + group);
  }
}

inline int run_latents(const LatentsArguments& arguments, void* stream) {
  if (!fits_fused(arguments.query)) {
    return kInvalidArguments;
  }
  const GridShape grid =
      fused_grid(TilesDown(arguments.query.n) + TilesDown(arguments.entry.n) +
                 TilesDown(arguments.compressor.n) + TilesDown(arguments.index_compressor.n) +
                 TilesDown(arguments.index_weights.n));
  return by_rows(
      arguments.query.rows,
      [&] { return simt::launch<ProjectionShared>(grid, stream, latents<1>, arguments); },
      [&] { return simt::launch<ProjectionShared>(grid, stream, latents<2>, arguments); },
      [&] { return simt::launch<ProjectionShared>(grid, stream, latents<6>, arguments); });
}

inline int run_queries(const QueriesArguments& arguments, void* stream) {
  if (!fits_fused(arguments.query) || arguments.query.n != arguments.prepare.heads * kHeadDim ||
      arguments.index_query.n !=
          (arguments.index_query.n == 0 ? 0 : arguments.index.heads * kIndexDim)) {
    return kInvalidArguments;
  }
  const GridShape grid =
      fused_grid(TilesDown(arguments.query.n) + TilesDown(arguments.index_query.n));
  return by_rows(
      arguments.query.rows,
      [&] { return simt::launch<ProjectionShared>(grid, stream, queries<1>, arguments); },
      [&] { return simt::launch<ProjectionShared>(grid, stream, queries<2>, arguments); },
      [&] { return simt::launch<ProjectionShared>(grid, stream, queries<6>, arguments); });
}

inline int run_output(const OutputArguments& arguments, void* stream) {
  if (!fits_fused(arguments.product) || arguments.product.n % kGroupColumns != 0 ||
      arguments.quantize.width != arguments.product.n) {
    return kInvalidArguments;
  }
  const GridShape grid = fused_grid(TilesDown(arguments.product.n));
  return by_rows(
      arguments.product.rows,
      [&] { return simt::launch<ProjectionShared>(grid, stream, output<1>, arguments); },
      [&] { return simt::launch<ProjectionShared>(grid, stream, output<2>, arguments); },
      [&] { return simt::launch<ProjectionShared>(grid, stream, output<6>, arguments); });
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
