#pragma once

#include "kernels/linear/weight_tile.cuh"
#include "kernels/moe/moe.h"
#include "kernels/norm/row.cuh"
#include "kernels/simt/grid.h"
#include "kernels/simt/simt.h"

// One block makes 128 columns of one expert's output for all of its rows: each of its eight warps
// owns a tile row of 16 columns and streams it from left to right, so an output element is one
// accumulation chain, and the 128 columns that a quantisation scale covers are in one block.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kExpertWarps = 8;
constexpr int kExpertThreads = kExpertWarps * 32;
constexpr int kExpertColumns = kExpertWarps * kTileRows;
constexpr int kRowsPerExpertTile = 8;

struct ExpertShared {
  // A tile of eight rows; the pitch keeps the columns of a fragment in different banks.
  simt::SharedMatrix<float, kRowsPerExpertTile, kExpertColumns, kExpertColumns + 4> activation;
};

// The stretch of `order` of the block's expert.
struct ExpertRows {
  int expert;
  int begin;
  int end;
};

// The rows of the n-th expert that has any; false past the last.
SIMT_DEVICE bool find_expert(const Grouping& grouping, int n, ExpertRows& rows) {
  if (n >= *grouping.active_count) {
    return false;
  }
  rows.expert = grouping.active[n];
  rows.begin = grouping.offsets[rows.expert];
  rows.end = grouping.offsets[rows.expert + 1];
  return true;
}

template <class Format>
SIMT_DEVICE PreparedMatrix
expert_matrix(const void* weight, const void* scale, int expert, int n, int k) {
  const int groups = k / kScaleColumns;
  const std::int64_t tiles = TilesDown(n);
  const std::int64_t weight_bytes =
      tiles * groups * kStepsPerGroup * 32 * LaneBytes(Format::kFormat);
  const std::int64_t scale_bytes = Format::kFormat == WeightFormat::kE2m1
                                       ? tiles * groups * 64
                                       : static_cast<std::int64_t>((n + 127) / 128) * groups;
  return {static_cast<const unsigned char*>(weight) + expert * weight_bytes,
          static_cast<const unsigned char*>(scale) + expert * scale_bytes,
          groups};
}

// The lane's share of an activation row; `row` is negative when there is none.
SIMT_DEVICE GroupSource row_source(const std::uint8_t* elements,
                                   const std::uint8_t* scales,
                                   std::int64_t row,
                                   int groups,
                                   int group) {
  GroupSource from = {};
  if (row >= 0) {
    from.row = elements + (row * groups + group) * kScaleColumns;
    from.row_scale = scales + row * groups + group;
  }
  return from;
}

SIMT_DEVICE float silu(float x) {
  return simt::divide(x, 1.0F + simt::exp(-x));
}

SIMT_DEVICE float gated(float a, float b, float limit, float weight) {
  a = simt::round_to_bf16(a);
  b = simt::round_to_bf16(b);
  if (limit > 0) {
    a = simt::minimum(a, limit);
    b = simt::minimum(simt::maximum(b, -limit), limit);
  }
  return simt::round_to_bf16(silu(a) * b * weight);
}

// 128 columns of the n-th active expert.
template <class Format, int kTiles>
SIMT_DEVICE void gate_up_expert(ExpertShared& shared, const GateUpArguments& arguments, int n) {
  ExpertRows rows = {};
  if (!find_expert(arguments.grouping, n, rows)) {
    return;
  }
  const int lane = simt::lane_index();
  const int warp = simt::warp_index();
  const int tile_row = simt::block_index() * kExpertWarps + warp;
  const PreparedMatrix w1 = expert_matrix<Format>(
      arguments.w1, arguments.w1_scale, rows.expert, arguments.intermediate, arguments.hidden);
  const PreparedMatrix w3 = expert_matrix<Format>(
      arguments.w3, arguments.w3_scale, rows.expert, arguments.intermediate, arguments.hidden);
  for (int begin = rows.begin; begin < rows.end; begin += kTiles * kRowsPerExpertTile) {
    const auto assignment_at = [&](int tile, int column) {
      const int at = begin + tile * kRowsPerExpertTile + column;
      return at < rows.end ? arguments.grouping.order[at] : -1;
    };
    std::int64_t row_of[kTiles];
    SIMT_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      const int assignment = assignment_at(tile, lane / 4);
      row_of[tile] = assignment < 0 ? -1 : assignment / arguments.choices;
    }
    float gate[kTiles][4] = {};
    float up[kTiles][4] = {};
    for (int group = 0; group < w1.groups; ++group) {
      const auto gate_weights = Format::load_weights(weight_source<Format>(w1, tile_row, group));
      const auto up_weights = Format::load_weights(weight_source<Format>(w3, tile_row, group));
      SIMT_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        if (begin + tile * kRowsPerExpertTile < rows.end) {
          const auto x = Format::load_rows(
              row_source(arguments.x, arguments.x_scale, row_of[tile], w1.groups, group));
          Format::multiply(gate[tile], gate_weights, x);
          Format::multiply(up[tile], up_weights, x);
        }
      }
    }
    SIMT_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      if (begin + tile * kRowsPerExpertTile >= rows.end) {
        break;
      }
      SIMT_UNROLL
      for (int i = 0; i < 4; ++i) {
        const Cell cell = Accumulator16x8::At(lane, i);
        const int assignment = assignment_at(tile, cell.column);
        const float weight =
            assignment < 0 || arguments.weights == nullptr ? 1.0F : arguments.weights[assignment];
        shared.activation(cell.column, warp * kTileRows + cell.row) =
            gated(gate[tile][i], up[tile][i], arguments.limit, weight);
      }
      simt::sync_block();
      // Warp w quantises row w of the tile.
      const int assignment = assignment_at(tile, warp);
      if (assignment >= 0) {
        const Words<4> words = simt::load_shared<4>(shared.activation.from(warp, lane * 4));
        const Four four = {{simt::float_of_bits(words.word[0]),
                            simt::float_of_bits(words.word[1]),
                            simt::float_of_bits(words.word[2]),
                            simt::float_of_bits(words.word[3])}};
        const std::int64_t group =
            static_cast<std::int64_t>(assignment) * (arguments.intermediate / kExpertColumns) +
            simt::block_index();
        quantize_group(four, arguments.t + group * kExpertColumns, arguments.t_scale + group);
      }
      simt::sync_block();
    }
  }
}

template <class Format, int kTiles>
SIMT_DEVICE void down_expert(const DownArguments& arguments, int n) {
  ExpertRows rows = {};
  if (!find_expert(arguments.grouping, n, rows)) {
    return;
  }
  const int lane = simt::lane_index();
  const int tile_row = simt::block_index() * kExpertWarps + simt::warp_index();
  const PreparedMatrix w2 = expert_matrix<Format>(
      arguments.w2, arguments.w2_scale, rows.expert, arguments.hidden, arguments.intermediate);
  for (int begin = rows.begin; begin < rows.end; begin += kTiles * kRowsPerExpertTile) {
    const auto assignment_at = [&](int tile, int column) {
      const int at = begin + tile * kRowsPerExpertTile + column;
      return at < rows.end ? arguments.grouping.order[at] : -1;
    };
    float sum[kTiles][4] = {};
    for (int group = 0; group < w2.groups; ++group) {
      const auto weights = Format::load_weights(weight_source<Format>(w2, tile_row, group));
      SIMT_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        if (begin + tile * kRowsPerExpertTile < rows.end) {
          Format::multiply(sum[tile],
                           weights,
                           Format::load_rows(row_source(arguments.t,
                                                        arguments.t_scale,
                                                        assignment_at(tile, lane / 4),
                                                        w2.groups,
                                                        group)));
        }
      }
    }
    SIMT_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      SIMT_UNROLL
      for (int i = 0; i < 4; ++i) {
        const Cell cell = Accumulator16x8::At(lane, i);
        const int assignment = assignment_at(tile, cell.column);
        if (assignment >= 0) {
          simt::store(arguments.y + static_cast<std::int64_t>(assignment) * arguments.hidden +
                          tile_row * kTileRows + cell.row,
                      sum[tile][i]);
        }
      }
    }
  }
}

// The numbers of a row's choices in ascending order of expert, four bits each.
SIMT_DEVICE std::uint64_t ascending_choices(const std::int32_t* ids, int choices) {
  std::uint64_t order = 0;
  for (int choice = 0; choice < choices; ++choice) {
    int rank = 0;
    for (int other = 0; other < choices; ++other) {
      const bool before = ids[other] < ids[choice] || (ids[other] == ids[choice] && other < choice);
      rank += before ? 1 : 0;
    }
    order |= static_cast<std::uint64_t>(choice) << (4 * rank);
  }
  return order;
}

// One column of a row: the routed experts of this rank in ascending order, then the shared one.
SIMT_DEVICE void combine_column(const CombineArguments& arguments,
                                std::uint64_t order,
                                int row,
                                int column) {
  float sum = 0;
  for (int rank = 0; rank < arguments.choices; ++rank) {
    const int assignment = row * arguments.choices + static_cast<int>(order >> (4 * rank) & 15U);
    const int expert = arguments.ids[assignment] - arguments.first_expert;
    if (expert >= 0 && expert < arguments.experts) {
      const float y = simt::load(arguments.y +
                                 static_cast<std::int64_t>(assignment) * arguments.hidden + column);
      sum += arguments.round_each ? simt::round_to_bf16(y) : y;
    }
  }
  const std::int64_t at = static_cast<std::int64_t>(row) * arguments.hidden + column;
  if (arguments.shared_y != nullptr) {
    const float y = simt::load(arguments.shared_y + at);
    sum += arguments.round_each ? simt::round_to_bf16(y) : y;
  }
  simt::store(arguments.out + at, sum);
}

// Blocks for every expert that could have rows; those without one leave at once.
template <class Arguments>
GridShape expert_grid(const Arguments& arguments, int columns) {
  const int assignments = arguments.rows * arguments.choices;
  const int experts =
      assignments < arguments.grouping.experts ? assignments : arguments.grouping.experts;
  return {.blocks = {columns / kExpertColumns, experts, 1},
          .threads = kExpertThreads,
          .dependent = true};
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
