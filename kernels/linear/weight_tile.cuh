#pragma once

#include "kernels/linear/prepared_weights.h"
#include "kernels/simt/simt.h"

// How a warp multiplies one 16 x 128 stretch of a prepared weight with up to eight rows: one type
// per pair of formats, the only place that knows both stored layouts and instructions.
//
//   Weights load_weights(...)         registers of the stretch, in flight while others multiply
//   Rows    load_rows(...)            the lane's share of one row's 128 elements
//   multiply(sum, weights, rows)      sum += weights x rows, from left to right
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kStepsPerGroup = kScaleColumns / kTileColumns;

// Where a lane's operands of one group come from.
struct GroupSource {
  const unsigned char* weight;        // first tile of the group
  const unsigned char* weight_scale;  // the group's scale bytes
  const unsigned char* row;           // the lane's row at the group's first element; null: no row
  const unsigned char* row_scale;
};

// A prepared weight as kernels pass it around.
struct PreparedMatrix {
  const unsigned char* weight;
  const unsigned char* scale;
  int groups;  // k / 128
};

// The weight half of a source: one group of one tile row.
template <class Format>
SIMT_DEVICE GroupSource weight_source(const PreparedMatrix& matrix, int tile_row, int group) {
  constexpr std::int64_t kGroupBytes = kStepsPerGroup * 32 * LaneBytes(Format::kFormat);
  const std::int64_t index = static_cast<std::int64_t>(tile_row) * matrix.groups + group;
  const std::int64_t scale =
      Format::kFormat == WeightFormat::kE2m1
          ? index * 64
          : static_cast<std::int64_t>(tile_row * kTileRows / 128) * matrix.groups + group;
  return {matrix.weight + index * kGroupBytes, matrix.scale + scale, nullptr, nullptr};
}

struct E4m3Rows {
  Words<2> word[kStepsPerGroup];
  std::uint32_t scale;
};

SIMT_DEVICE E4m3Rows load_e4m3_rows(const GroupSource& from) {
  E4m3Rows rows = {};
  rows.scale = 127;
  if (from.row != nullptr) {
    SIMT_UNROLL
    for (int step = 0; step < kStepsPerGroup; ++step) {
      rows.word[step] = simt::load_vector<2>(from.row + step * 32 + simt::lane_index() % 4 * 8);
    }
    rows.scale = *simt::global(from.row_scale);
  }
  return rows;
}

struct E4m3ByE4m3 {
  static constexpr WeightFormat kFormat = WeightFormat::kE4m3;
  static constexpr int kRowElementBytes = 1;
  struct Weights {
    Words<4> word[kStepsPerGroup];
    std::uint32_t scale;
  };
  using Rows = E4m3Rows;

  SIMT_DEVICE static Weights load_weights(const GroupSource& from) {
    Weights weights;
    SIMT_UNROLL
    for (int step = 0; step < kStepsPerGroup; ++step) {
      weights.word[step] = simt::load_weight<4>(from.weight + step * 512 + simt::lane_index() * 16);
    }
    weights.scale = *simt::global(from.weight_scale);
    return weights;
  }
  SIMT_DEVICE static Rows load_rows(const GroupSource& from) { return load_e4m3_rows(from); }
  SIMT_DEVICE static void multiply(float (&sum)[4], const Weights& weights, const Rows& rows) {
    SIMT_UNROLL
    for (int step = 0; step < kStepsPerGroup; ++step) {
      simt::mma_scaled_m16n8k32(
          sum, weights.word[step], rows.word[step], weights.scale, rows.scale, simt::E4m3Operand{});
    }
  }
};

struct E2m1ByE4m3 {
  static constexpr WeightFormat kFormat = WeightFormat::kE2m1;
  static constexpr int kRowElementBytes = 1;
  struct Weights {
    Words<2> word[kStepsPerGroup];
    std::uint32_t scales;  // a byte a step, of the row whose scale this lane supplies
  };
  using Rows = E4m3Rows;

  SIMT_DEVICE static Weights load_weights(const GroupSource& from) {
    const int lane = simt::lane_index();
    Weights weights;
    SIMT_UNROLL
    for (int step = 0; step < kStepsPerGroup; ++step) {
      weights.word[step] = simt::load_weight<2>(from.weight + step * 256 + lane * 8);
    }
    const int scale_row = lane / 4 + 8 * (lane % 2);
    weights.scales = simt::load_weight_scale<1>(from.weight_scale + scale_row * 4).word[0];
    return weights;
  }
  SIMT_DEVICE static Rows load_rows(const GroupSource& from) { return load_e4m3_rows(from); }
  SIMT_DEVICE static void multiply(float (&sum)[4], const Weights& weights, const Rows& rows) {
    SIMT_UNROLL
    for (int step = 0; step < kStepsPerGroup; ++step) {
      const Words<2> first = simt::unpack_e2m1(weights.word[step].word[0]);
      const Words<2> second = simt::unpack_e2m1(weights.word[step].word[1]);
      simt::mma_scaled_m16n8k32(
          sum,
          Words<4>{{first.word[0], first.word[1], second.word[0], second.word[1]}},
          rows.word[step],
          weights.scales >> (8 * step) & 0xFFU,
          rows.scale,
          simt::E2m1Operand{});
    }
  }
};

struct Bf16Rows {
  Words<4> word[kStepsPerGroup];
};

SIMT_DEVICE Bf16Rows load_bf16_rows(const GroupSource& from) {
  Bf16Rows rows = {};
  if (from.row != nullptr) {
    SIMT_UNROLL
    for (int step = 0; step < kStepsPerGroup; ++step) {
      rows.word[step] = simt::load_vector<4>(from.row + step * 64 + simt::lane_index() % 4 * 16);
    }
  }
  return rows;
}

struct Bf16ByBf16 {
  static constexpr WeightFormat kFormat = WeightFormat::kBf16;
  static constexpr int kRowElementBytes = 2;
  struct Weights {
    Words<4> word[kStepsPerGroup * 2];
  };
  using Rows = Bf16Rows;

  SIMT_DEVICE static Weights load_weights(const GroupSource& from) {
    Weights weights;
    SIMT_UNROLL
    for (int step = 0; step < kStepsPerGroup * 2; ++step) {
      weights.word[step] = simt::load_weight<4>(from.weight + step * 512 + simt::lane_index() * 16);
    }
    return weights;
  }
  SIMT_DEVICE static Rows load_rows(const GroupSource& from) { return load_bf16_rows(from); }
  SIMT_DEVICE static void multiply(float (&sum)[4], const Weights& weights, const Rows& rows) {
    SIMT_UNROLL
    for (int step = 0; step < kStepsPerGroup; ++step) {
      const Words<4>& row = rows.word[step];
      simt::mma_bf16_m16n8k16(sum, weights.word[2 * step], Words<2>{{row.word[0], row.word[1]}});
      simt::mma_bf16_m16n8k16(
          sum, weights.word[2 * step + 1], Words<2>{{row.word[2], row.word[3]}});
    }
  }
};

// Two e4m3 bytes to two bf16, exactly but for a factor of 2^-120 that the group's scale undoes.
SIMT_DEVICE std::uint32_t widen_to_tiny_bf16(std::uint32_t two) {
  const std::uint32_t spread = (two & 0xFFU) | (two & 0xFF00U) << 8;
  return (spread & 0x00800080U) << 8 | (spread & 0x007F007FU) << 4;
}

// The grouped output projection: weights e4m3, activations bf16, products of both in bf16.
struct E4m3ByBf16 {
  static constexpr WeightFormat kFormat = WeightFormat::kE4m3;
  static constexpr int kRowElementBytes = 2;
  using Weights = E4m3ByE4m3::Weights;
  using Rows = Bf16Rows;

  SIMT_DEVICE static Weights load_weights(const GroupSource& from) {
    return E4m3ByE4m3::load_weights(from);
  }
  SIMT_DEVICE static Rows load_rows(const GroupSource& from) { return load_bf16_rows(from); }
  SIMT_DEVICE static void multiply(float (&sum)[4], const Weights& weights, const Rows& rows) {
    float group_sum[4] = {0, 0, 0, 0};
    SIMT_UNROLL
    for (int step = 0; step < kStepsPerGroup; ++step) {
      SIMT_UNROLL
      for (int half = 0; half < 2; ++half) {
        const std::uint32_t upper = weights.word[step].word[2 * half];
        const std::uint32_t lower = weights.word[step].word[2 * half + 1];
        const Words<4> wide{{enlarge(widen_to_tiny_bf16(upper & 0xFFFFU)),
                             enlarge(widen_to_tiny_bf16(lower & 0xFFFFU)),
                             enlarge(widen_to_tiny_bf16(upper >> 16)),
                             enlarge(widen_to_tiny_bf16(lower >> 16))}};
        const Words<4>& row = rows.word[step];
        simt::mma_bf16_m16n8k16(
            group_sum, wide, Words<2>{{row.word[2 * half], row.word[2 * half + 1]}});
      }
    }
    const float scale = simt::ue8m0_to_float(weights.scale);
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      sum[i] = simt::fma(group_sum[i], scale, sum[i]);
    }
  }

 private:
  // Back to the values themselves: subnormal operands of a product may be flushed.
  SIMT_DEVICE static std::uint32_t enlarge(std::uint32_t tiny) {
    return simt::pack_exact_bf16(simt::low_bf16(tiny) * 0x1p120F, simt::high_bf16(tiny) * 0x1p120F);
  }
};

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
