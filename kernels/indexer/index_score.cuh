#pragma once

#include "kernels/indexer/index_score.h"
#include "kernels/indexer/index_vector.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

// Scores as a tensor-core product of stored bytes: heads are the 16-row operand, keys the columns,
// both e2m1 with their UE8M0 scales applied by the instruction; relu, head weights and the sum over
// heads happen in registers, so no per-head score is ever stored.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kIndexWarps = 8;
constexpr int kIndexThreads = kIndexWarps * 32;
constexpr int kKeysPerWarpTile = 8;
constexpr int kTilesPerWarp = 8;
constexpr int kKeysPerBlock = kIndexWarps * kKeysPerWarpTile * kTilesPerWarp;
constexpr int kIndexHeadTiles = kIndexHeadsMax / 16;
constexpr int kIndexSteps = kIndexDim / 32;

// One warp a head of a row.
// Limits: 32 registers.
SIMT_KERNEL(kIndexThreads) index_query(IndexQueryArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int vector = simt::block_index() * kIndexWarps + simt::warp_index();
  if (vector < arguments.rows * arguments.heads) {
    make_index_query(arguments, vector);
  }
}

// A row's query heads in registers. The lane's word of a head's 32 dimensions is word
// lane % 4 of their 16 bytes: any order of k serves that both operands share.
struct IndexHeads {
  Words<4> code[kIndexHeadTiles][kIndexSteps];
  std::uint32_t scales[kIndexHeadTiles];  // a byte a step, of the row this lane speaks for
  float weight[kIndexHeadTiles][2];
};

SIMT_DEVICE IndexHeads load_index_heads(const IndexScoreArguments& arguments, int row) {
  const int lane = simt::lane_index();
  const std::int64_t first = static_cast<std::int64_t>(row) * arguments.heads;
  IndexHeads heads = {};
  SIMT_UNROLL
  for (int tile = 0; tile < kIndexHeadTiles; ++tile) {
    SIMT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int head = tile * 16 + half * 8 + lane / 4;
      if (head >= arguments.heads) {
        continue;
      }
      heads.weight[tile][half] = simt::round_to_bf16(
          simt::round_to_bf16(arguments.weights[first + head]) * arguments.weight_scale);
      SIMT_UNROLL
      for (int step = 0; step < kIndexSteps; ++step) {
        const Words<1> packed = simt::load_vector<1>(
            arguments.codes + (first + head) * kIndexCodeBytes + step * 16 + lane % 4 * 4);
        const Words<2> unpacked = simt::unpack_e2m1(packed.word[0]);
        heads.code[tile][step].word[half] = unpacked.word[0];
        heads.code[tile][step].word[half + 2] = unpacked.word[1];
      }
    }
    const int scale_head = tile * 16 + lane / 4 + 8 * (lane % 2);
    heads.scales[tile] =
        scale_head < arguments.heads
            ? simt::load_vector<1>(arguments.scales + (first + scale_head) * kIndexScaleBytes)
                  .word[0]
            : 0x7F7F7F7FU;
  }
  return heads;
}

// Rounded where the published reference rounds.
SIMT_DEVICE float weighted_relu(float weight, float dot) {
  return simt::round_to_bf16(weight * simt::maximum(simt::round_to_bf16(dot), 0.0F));
}

// One piece of kKeysPerBlock of the row's keys: a warp takes eight tiles of eight.
SIMT_DEVICE void score_piece(const IndexScoreArguments& arguments,
                             const IndexHeads& heads,
                             int row,
                             int piece) {
  const int visible = arguments.visible[row];
  const int begin = piece * kKeysPerBlock + simt::warp_index() * kKeysPerWarpTile * kTilesPerWarp;
  const int lane = simt::lane_index();
  const int keys_per_page = arguments.pages.keys_per_page;
  const std::int32_t* table =
      arguments.page_table + static_cast<std::int64_t>(row) * arguments.pages_max;
  for (int first = begin; first < begin + kKeysPerWarpTile * kTilesPerWarp && first < visible;
       first += kKeysPerWarpTile) {
    // A page holds a multiple of eight keys, so a tile lies in one.
    const std::uint8_t* key =
        arguments.pages.base + table[first / keys_per_page] * arguments.pages.page_stride +
        static_cast<std::int64_t>(first % keys_per_page + lane / 4) * kIndexKeyBytes;
    const std::uint32_t key_scales = simt::load_vector<1>(key + kIndexCodeBytes).word[0];
    float sum[kIndexHeadTiles][4] = {};
    SIMT_UNROLL
    for (int step = 0; step < kIndexSteps; ++step) {
      const Words<1> packed = simt::load_streaming<1>(key + step * 16 + lane % 4 * 4);
      const Words<2> codes = simt::unpack_e2m1(packed.word[0]);
      SIMT_UNROLL
      for (int tile = 0; tile < kIndexHeadTiles; ++tile) {
        simt::mma_scaled_e2m1_m16n8k32(sum[tile],
                                       heads.code[tile][step],
                                       codes,
                                       heads.scales[tile] >> (8 * step) & 0xFFU,
                                       key_scales >> (8 * step) & 0xFFU);
      }
    }
    // Over this lane's heads, then over the lanes that hold the same two keys.
    float low = 0;
    float high = 0;
    SIMT_UNROLL
    for (int tile = 0; tile < kIndexHeadTiles; ++tile) {
      SIMT_UNROLL
      for (int half = 0; half < 2; ++half) {
        const float weight = heads.weight[tile][half];
        low += weighted_relu(weight, sum[tile][2 * half]);
        high += weighted_relu(weight, sum[tile][2 * half + 1]);
      }
    }
    for (int mask = 4; mask < 32; mask *= 2) {
      low += simt::shuffle_xor(low, mask);
      high += simt::shuffle_xor(high, mask);
    }
    const int column = first + lane * 2;
    float* scores = arguments.scores + row * arguments.row_stride;
    if (lane < 4) {
      if (column < visible) {
        simt::store(scores + column, simt::round_to_bf16(low));
      }
      if (column + 1 < visible) {
        simt::store(scores + column + 1, simt::round_to_bf16(high));
      }
    }
  }
}

// Blocks that share a row's keys. A captured launch is as large as the longest context asks, and
// most of its blocks would only look and leave: so many fill the chip, and more work makes each
// block do more.
SIMT_HOST_DEVICE constexpr int blocks_of_row(const IndexScoreArguments& arguments) {
  const int pieces =
      (arguments.pages_max * arguments.pages.keys_per_page + kKeysPerBlock - 1) / kKeysPerBlock;
  const int share =
      arguments.rows < arguments.blocks_max ? arguments.blocks_max / arguments.rows : 1;
  return pieces < share ? pieces : share;
}

// A row's keys in pieces of kKeysPerBlock, and the block's: neighbours, from `begin` to `end`.
struct KeyPieces {
  int count;
  int each;  // of a block, but for the last
  int begin;
  int end;
};
SIMT_DEVICE KeyPieces key_pieces(int visible, int block, int blocks) {
  const int count = (visible + kKeysPerBlock - 1) / kKeysPerBlock;
  const int each = (count + blocks - 1) / blocks;
  const int end = (block + 1) * each;
  return {count, each, block * each, end < count ? end : count};
}

// The block scores its pieces of the row's keys.
SIMT_DEVICE void score_keys(const IndexScoreArguments& arguments,
                            int row,
                            const KeyPieces& pieces) {
  const int first =
      pieces.begin * kKeysPerBlock + simt::warp_index() * kKeysPerWarpTile * kTilesPerWarp;
  if (first >= arguments.visible[row]) {
    return;  // the warp has no keys in any piece
  }
  const IndexHeads heads = load_index_heads(arguments, row);
  for (int piece = pieces.begin; piece < pieces.end; ++piece) {
    score_piece(arguments, heads, row, piece);
  }
}

// Grid: rows, stretches of keys: rows of a sequence read a stretch side by side, so that all but
// the first find it in the L2, which does not hold the keys of a long context.
// Limits: 248 registers; blocks per SM on sm_12x 2; streams words.
SIMT_KERNEL(kIndexThreads) index_score(IndexScoreArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index();
  score_keys(arguments,
             row,
             key_pieces(arguments.visible[row], simt::block_index_y(), blocks_of_row(arguments)));
}

inline int run_index_query(const IndexQueryArguments& arguments, void* stream) {
  const int vectors = arguments.rows * arguments.heads;
  const GridShape grid{.blocks = {(vectors + kIndexWarps - 1) / kIndexWarps, 1, 1},
                       .threads = kIndexThreads,
                       .dependent = true};
  return simt::launch<simt::NoShared>(grid, stream, index_query, arguments);
}
inline bool holds(const IndexScoreArguments& arguments) {
  return arguments.heads <= kIndexHeadsMax && arguments.blocks_max > 0 &&
         arguments.pages.keys_per_page % kKeysPerWarpTile == 0;
}
inline GridShape grid_of(const IndexScoreArguments& arguments) {
  return {.blocks = {arguments.rows, blocks_of_row(arguments), 1},
          .threads = kIndexThreads,
          .dependent = true};
}
inline int run_index_score(const IndexScoreArguments& arguments, void* stream) {
  if (!holds(arguments)) {
    return kInvalidArguments;
  }
  return simt::launch<simt::NoShared>(grid_of(arguments), stream, index_score, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
