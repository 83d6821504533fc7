#pragma once

#include "kernels/norm/rms_norm.h"
#include "kernels/simt/simt.h"

// A row of activations in the hands of one block, for every kernel that ends in a norm. A warp
// takes groups of 128 columns, four to a lane, so that a group's largest magnitude is one warp
// reduction away when it is quantised.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kRowWarps = 8;
constexpr int kRowThreads = kRowWarps * 32;
constexpr int kGroupColumns = 128;

struct RowShared {
  simt::SharedArray<float, kRowWarps> partial;
};

struct Four {
  float value[4];
};

SIMT_DEVICE Four load_four_bf16(const std::uint16_t* from) {
  const Words<2> words = simt::load_vector<2>(from);
  return {{simt::low_bf16(words.word[0]),
           simt::high_bf16(words.word[0]),
           simt::low_bf16(words.word[1]),
           simt::high_bf16(words.word[1])}};
}
SIMT_DEVICE void store_four_bf16(std::uint16_t* to, const Four& four) {
  simt::store_vector<2>(to,
                        Words<2>{{simt::pack_bf16(four.value[0], four.value[1]),
                                  simt::pack_bf16(four.value[2], four.value[3])}});
}

// Quantises the warp's group of 128, four values a lane, all lanes together.
SIMT_DEVICE void quantize_group(const Four& four, std::uint8_t* quantized, std::uint8_t* scale) {
  float amax = numerics::kE4m3AmaxMin;
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    amax = simt::maximum(amax, simt::absolute(four.value[i]));
  }
  amax = simt::warp_max(amax);
  const std::uint32_t exponent = simt::e4m3_scale(amax);
  const float inverse = simt::ue8m0_inverse(exponent);
  std::uint32_t packed = 0;
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    packed |= static_cast<std::uint32_t>(simt::float_to_e4m3(four.value[i] * inverse)) << (8 * i);
  }
  simt::store_vector<1>(quantized + simt::lane_index() * 4, Words<1>{{packed}});
  if (simt::lane_index() == 0) {
    simt::store(scale, static_cast<std::uint8_t>(exponent));
  }
}

// Normalises and quantises one row whose four values at a column load(column) returns.
template <class Load>
SIMT_DEVICE void normalize_row(const Load& load,
                               const RmsNormArguments& arguments,
                               int row,
                               simt::SharedArray<float, kRowWarps>& partial) {
  const int lane_column = simt::lane_index() * 4;
  float squares = 0;
  for (int group = simt::warp_index(); group * kGroupColumns < arguments.width;
       group += kRowWarps) {
    const Four x = load(group * kGroupColumns + lane_column);
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      squares = simt::fma(x.value[i], x.value[i], squares);
    }
  }
  squares = simt::block_sum(squares, partial);
  const float scale =
      simt::rsqrt(simt::divide(squares, static_cast<float>(arguments.width)) + arguments.epsilon);
  const std::int64_t first = static_cast<std::int64_t>(row) * arguments.width;
  for (int group = simt::warp_index(); group * kGroupColumns < arguments.width;
       group += kRowWarps) {
    const int column = group * kGroupColumns + lane_column;
    const Four x = load(column);
    const Four gain = load_four_bf16(arguments.gain + column);
    Four y;
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      y.value[i] = simt::round_to_bf16(x.value[i] * scale * gain.value[i]);
    }
    store_four_bf16(arguments.normalized + first + column, y);
    if (arguments.quantized != nullptr) {
      quantize_group(y,
                     arguments.quantized + first + group * kGroupColumns,
                     arguments.scale + first / kGroupColumns + group);
    }
  }
}

SIMT_DEVICE void normalize_stored_row(const RmsNormArguments& arguments,
                                      int row,
                                      simt::SharedArray<float, kRowWarps>& partial) {
  const std::uint16_t* x = arguments.x + static_cast<std::int64_t>(row) * arguments.width;
  normalize_row([&](int column) { return load_four_bf16(x + column); }, arguments, row, partial);
}

// The warp quantises one group of 128, counted over all rows.
SIMT_DEVICE void quantize_stored_group(const QuantizeArguments& arguments, std::int64_t group) {
  const Four x = load_four_bf16(arguments.x + group * kGroupColumns + simt::lane_index() * 4);
  quantize_group(x, arguments.quantized + group * kGroupColumns, arguments.scale + group);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
