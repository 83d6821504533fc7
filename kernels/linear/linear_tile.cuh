#pragma once

#include "kernels/linear/linear.h"
#include "kernels/linear/weight_tile.cuh"
#include "kernels/simt/grid.h"
#include "kernels/simt/simt.h"

// One block makes 16 output columns (a tile row of W) for up to 8 x kTiles rows of x. Its eight
// warps each stream a fixed stretch of the tile row straight into tensor-core registers, one group
// ahead of the products; no shared memory on the way, because on GB10 plain 16-byte loads with
// several in flight reach the bus and staging does not. The eight sums meet in shared memory.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kLinearWarps = 8;
constexpr int kLinearThreads = kLinearWarps * 32;
constexpr int kRowsPerTile = 8;

struct LinearShared {
  // [warp][row of W][row of x]
  simt::SharedMatrix<float, kLinearWarps, kTileRows * kRowsPerTile> partial;
};

struct Stretch {
  int begin;
  int end;
};

// The groups of 128 columns that belong to a warp: a function of k alone.
SIMT_DEVICE Stretch stretch_of_warp(int groups, int warp) {
  const int each = (groups + kLinearWarps - 1) / kLinearWarps;
  const int begin = warp * each < groups ? warp * each : groups;
  return {begin, begin + each < groups ? begin + each : groups};
}

// Adds the eight partial sums of a 16 x 8 tile in order and hands each to store(row, column, sum).
template <class Store>
SIMT_DEVICE void reduce_tile(LinearShared& shared, float (&sum)[4], const Store& store) {
  const int warp = simt::warp_index();
  simt::for_each(sum, [&](int row, int column, float& value) {
    shared.partial(warp, column * kTileRows + row) = value;
  });
  simt::sync_block();
  const int cell = simt::thread_index();
  if (cell < kTileRows * kRowsPerTile) {
    float total = 0;
    for (int from = 0; from < kLinearWarps; ++from) {
      total += shared.partial(from, cell);
    }
    store(cell % kTileRows, cell / kTileRows, total);
  }
  simt::sync_block();
}

// Streams a warp's stretch of one tile row and multiplies it with kTiles tiles of x.
// source(group, tile) tells where the lane's operands lie.
template <class Format, int kTiles, class Source>
SIMT_DEVICE void multiply_stretch(float (&sum)[kTiles][4], Stretch stretch, const Source& source) {
  if (stretch.begin >= stretch.end) {
    simt::dependency_wait();
    return;
  }
  // With twelve tiles the products of one group last long enough to hide the next one's loads
  // behind the other warps, and the registers are worth more.
  constexpr bool kOneAhead = kTiles <= 6;
  // Weights are nobody's output: the first of them travel while the launch before still runs.
  auto next = Format::load_weights(source(stretch.begin, 0));
  simt::dependency_wait();
  for (int group = stretch.begin; group < stretch.end; ++group) {
    const auto weights = next;
    if (kOneAhead && group + 1 < stretch.end) {
      next = Format::load_weights(source(group + 1, 0));
    }
    SIMT_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      Format::multiply(sum[tile], weights, Format::load_rows(source(group, tile)));
      if (!kOneAhead) {
        // Keeps ptxas from fetching the rows of all twelve tiles before the first product, for
        // which there are no registers.
        simt::keep_order();
      }
    }
    if (!kOneAhead && group + 1 < stretch.end) {
      next = Format::load_weights(source(group + 1, 0));
    }
  }
}

// One tile row of one product for the rows from `first_row` on.
template <class Format, int kTiles>
SIMT_DEVICE void linear_tile(LinearShared& shared,
                             const LinearArguments& arguments,
                             int tile_row,
                             int first_row) {
  const int groups = arguments.k / kScaleColumns;
  const int rows_per_group = arguments.n / arguments.groups;
  const int input = tile_row * kTileRows / rows_per_group;  // the group whose input this tile reads
  const int lane = simt::lane_index();

  const PreparedMatrix matrix{static_cast<const unsigned char*>(arguments.weight),
                              static_cast<const unsigned char*>(arguments.weight_scale),
                              groups};
  // The lane's row of the first tile; the others lie whole tiles further, which 32 bits can say.
  const std::int64_t row_index =
      static_cast<std::int64_t>(first_row + lane / 4) * arguments.groups + input;
  const unsigned char* elements = static_cast<const unsigned char*>(arguments.activation) +
                                  row_index * arguments.k * Format::kRowElementBytes;
  constexpr bool kScaled = Format::kRowElementBytes == 1;
  const unsigned char* scales = kScaled ? arguments.activation_scale + row_index * groups : nullptr;
  const int tile_stride = kRowsPerTile * arguments.groups * groups;
  const auto source = [&](int group, int tile) {
    GroupSource from = weight_source<Format>(matrix, tile_row, group);
    if (first_row + tile * kRowsPerTile + lane / 4 < arguments.rows) {
      const int offset = tile * tile_stride + group;
      from.row = elements + offset * (kScaleColumns * Format::kRowElementBytes);
      from.row_scale = kScaled ? scales + offset : nullptr;
    }
    return from;
  };

  float sum[kTiles][4] = {};
  multiply_stretch<Format, kTiles>(sum, stretch_of_warp(groups, simt::warp_index()), source);
  SIMT_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    reduce_tile(shared, sum[tile], [&](int row_of_tile, int column, float value) {
      const int out = tile_row * kTileRows + row_of_tile;
      const int row = first_row + tile * kRowsPerTile + column;
      if (out >= arguments.n || row >= arguments.rows) {
        return;
      }
      const std::int64_t at = static_cast<std::int64_t>(row) * arguments.n + out;
      if (arguments.output_format == OutputFormat::kBf16) {
        simt::store(static_cast<std::uint16_t*>(arguments.output) + at, simt::float_to_bf16(value));
      } else {
        simt::store(static_cast<float*>(arguments.output) + at, value);
      }
    });
  }
}

// The product that a block of a batch works on: blocks are dealt to the parts in order. Selecting
// instead of indexing keeps the arguments out of local memory.
struct PartOfBatch {
  LinearArguments arguments;
  int part;
  int tile_row;
};
SIMT_DEVICE PartOfBatch find_part(const LinearBatch& batch, int block) {
  PartOfBatch found{batch.part[0], 0, block};
  int first_tile = 0;
  SIMT_UNROLL
  for (int part = 1; part < kLinearPartsMax; ++part) {
    if (part < batch.parts) {
      first_tile += TilesDown(batch.part[part - 1].n);
      if (block >= first_tile) {
        found = {batch.part[part], part, block - first_tile};
      }
    }
  }
  return found;
}

inline GridShape grid_of(const LinearBatch& batch, int tiles_per_block) {
  const int rows_per_block = tiles_per_block * kRowsPerTile;
  int tiles = 0;
  for (int part = 0; part < batch.parts; ++part) {
    tiles += TilesDown(batch.part[part].n);
  }
  return {.blocks = {tiles, (batch.part[0].rows + rows_per_block - 1) / rows_per_block, 1},
          .threads = kLinearThreads,
          .dependent = true};
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
