#pragma once

#include "kernels/indexer/index_score.h"
#include "kernels/simt/simt.h"

// One index vector of 128 in the hands of a warp, four neighbouring dimensions a lane: queries and
// keys take the same way to their stored form.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

struct IndexVector {
  float value[4];
};

SIMT_DEVICE void round_index_vector(IndexVector& x) {
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    x.value[i] = simt::round_to_bf16(x.value[i]);
  }
}

// Rotates dimensions 64 to 127, held by the upper half of the warp.
SIMT_DEVICE void rotate_index_vector(IndexVector& x, const float* rope) {
  const int lane = simt::lane_index();
  if (lane < 16) {
    return;
  }
  SIMT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int pair = (lane - 16) * 2 + half;
    const float c = rope[pair];
    const float s = rope[32 + pair];
    const float low = x.value[2 * half];
    const float high = x.value[2 * half + 1];
    x.value[2 * half] = low * c - high * s;
    x.value[2 * half + 1] = low * s + high * c;
  }
  round_index_vector(x);
}

// Butterflies over the seven bits of the dimension's index, from the lowest.
SIMT_DEVICE void hadamard(IndexVector& x) {
  for (int bit = 1; bit <= 2; bit *= 2) {
    IndexVector y;
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int other = i ^ bit;
      const float partner = other == 0   ? x.value[0]
                            : other == 1 ? x.value[1]
                            : other == 2 ? x.value[2]
                                         : x.value[3];
      y.value[i] = (i & bit) == 0 ? x.value[i] + partner : partner - x.value[i];
    }
    x = y;
  }
  for (int bit = 1; bit < 32; bit *= 2) {
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float partner = simt::shuffle_xor(x.value[i], bit);
      x.value[i] = (simt::lane_index() & bit) == 0 ? x.value[i] + partner : partner - x.value[i];
    }
  }
  constexpr float kScale = 0.08838834764831845F;  // 1 / sqrt(128)
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    x.value[i] *= kScale;
  }
  round_index_vector(x);
}

// Quantises groups of 32 (eight lanes) and stores codes and scales.
SIMT_DEVICE void store_index_vector(const IndexVector& x,
                                    std::uint8_t* codes,
                                    std::uint8_t* scales) {
  float amax = numerics::kE2m1AmaxMin;
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    amax = simt::maximum(amax, simt::absolute(x.value[i]));
  }
  for (int mask = 1; mask < 8; mask *= 2) {
    amax = simt::maximum(amax, simt::shuffle_xor(amax, mask));
  }
  const std::uint32_t exponent = simt::e2m1_scale(amax);
  const float inverse = simt::ue8m0_inverse(exponent);
  std::uint32_t packed = 0;
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    packed |= simt::float_to_e2m1(x.value[i] * inverse) << (4 * i);
  }
  const int lane = simt::lane_index();
  simt::store(codes + lane * 2, static_cast<std::uint8_t>(packed));
  simt::store(codes + lane * 2 + 1, static_cast<std::uint8_t>(packed >> 8));
  if (lane % 8 == 0) {
    simt::store(scales + lane / 8, static_cast<std::uint8_t>(exponent));
  }
}

// The warp makes one head of a row, counted over all rows.
SIMT_DEVICE void make_index_query(const IndexQueryArguments& arguments, int vector) {
  const Words<2> words = simt::load_vector<2>(
      arguments.q + static_cast<std::int64_t>(vector) * kIndexDim + simt::lane_index() * 4);
  IndexVector x = {{simt::low_bf16(words.word[0]),
                    simt::high_bf16(words.word[0]),
                    simt::low_bf16(words.word[1]),
                    simt::high_bf16(words.word[1])}};
  rotate_index_vector(x, arguments.rope + static_cast<std::int64_t>(vector / arguments.heads) * 64);
  hadamard(x);
  store_index_vector(x,
                     arguments.codes + static_cast<std::int64_t>(vector) * kIndexCodeBytes,
                     arguments.scales + static_cast<std::int64_t>(vector) * kIndexScaleBytes);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
