#pragma once

#include "kernels/attention/attention.h"
#include "kernels/attention/entry.h"
#include "kernels/simt/simt.h"

// One latent in the hands of a block of eight warps: warp w holds dimensions 64w to 64w + 63, two
// neighbours a lane, so that a scale group and a rotation pair never cross a warp.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kLatentWarps = kHeadDim / kEntryGroup;
constexpr int kLatentThreads = kLatentWarps * 32;
constexpr int kRopeWarp = kLatentWarps - 1;

struct LatentShared {
  simt::SharedArray<float, kLatentWarps> partial;
};

struct Pair {
  float low;
  float high;
};

SIMT_DEVICE int latent_dimension() {
  return simt::thread_index() * 2;
}

SIMT_DEVICE Pair load_pair_bf16(const std::uint16_t* from) {
  const std::uint32_t word = simt::load_vector<1>(from).word[0];
  return {simt::low_bf16(word), simt::high_bf16(word)};
}

// (a + ib)(cos + i sin), or with the angle reversed.
SIMT_DEVICE Pair rotate(const Pair& pair, float cosine, float sine) {
  return {pair.low * cosine - pair.high * sine, pair.low * sine + pair.high * cosine};
}

SIMT_DEVICE Pair round_pair(const Pair& pair) {
  return {simt::round_to_bf16(pair.low), simt::round_to_bf16(pair.high)};
}

// The RMS norm of the block's latent, rounded to bf16.
SIMT_DEVICE Pair normalize_latent(const Pair& x,
                                  const std::uint16_t* gain,
                                  float epsilon,
                                  simt::SharedArray<float, kLatentWarps>& partial) {
  const float squares = simt::block_sum(simt::fma(x.low, x.low, x.high * x.high), partial);
  const float scale = simt::rsqrt(simt::divide(squares, static_cast<float>(kHeadDim)) + epsilon);
  const Pair weight = load_pair_bf16(gain + latent_dimension());
  return round_pair({x.low * scale * weight.low, x.high * scale * weight.high});
}

// Rotates the last 64 dimensions and stores the latent.
SIMT_DEVICE void store_entry(const Pair& normalized,
                             const float* rope,
                             const EntryPages& pages,
                             int slot) {
  Pair value = normalized;
  const int lane = simt::lane_index();
  const int warp = simt::warp_index();
  const bool roped = warp == kRopeWarp;
  if (roped) {
    value = round_pair(rotate(value, rope[lane], rope[kRopePairs + lane]));
  }
  std::uint8_t* entry = pages.Entry(slot);
  const float amax = simt::warp_max(
      simt::maximum(numerics::kE4m3AmaxMin,
                    simt::maximum(simt::absolute(value.low), simt::absolute(value.high))));
  if (roped) {
    simt::store_vector<1>(entry + kEntryRope + lane * 4,
                          Words<1>{{simt::pack_bf16(value.low, value.high)}});
    if (lane == 0) {
      simt::store(entry + kEntryScales + kRopeWarp, 0);
    }
    return;
  }
  const std::uint32_t exponent = simt::e4m3_scale(amax);
  const float inverse = simt::ue8m0_inverse(exponent);
  simt::store(entry + latent_dimension(), simt::float_to_e4m3(value.low * inverse));
  simt::store(entry + latent_dimension() + 1, simt::float_to_e4m3(value.high * inverse));
  if (lane == 0) {
    simt::store(entry + kEntryScales + warp, static_cast<std::uint8_t>(exponent));
  }
}

// The block normalises and rotates one head of a row, counted over all rows.
SIMT_DEVICE void prepare_query(const QueryArguments& arguments,
                               int vector,
                               simt::SharedArray<float, kLatentWarps>& partial) {
  const int row = vector / arguments.heads;
  std::uint16_t* q =
      arguments.q + static_cast<std::int64_t>(vector) * kHeadDim + latent_dimension();
  Pair value = load_pair_bf16(q);
  // The published reference does this as a chain of bf16 operations.
  const float squares = simt::block_sum(
      simt::round_to_bf16(value.low * value.low) + simt::round_to_bf16(value.high * value.high),
      partial);
  const float mean = simt::round_to_bf16(simt::divide(squares, static_cast<float>(kHeadDim)));
  const float scale =
      simt::round_to_bf16(simt::rsqrt(simt::round_to_bf16(mean + arguments.epsilon)));
  value = round_pair({value.low * scale, value.high * scale});
  if (simt::warp_index() == kRopeWarp) {
    const float* rope = arguments.rope + static_cast<std::int64_t>(row) * kRopeDim;
    const int pair = simt::lane_index();
    value = rotate(value, rope[pair], rope[kRopePairs + pair]);
  }
  simt::store_vector<1>(q, Words<1>{{simt::pack_bf16(value.low, value.high)}});
}

// The block stores one row's window entry.
SIMT_DEVICE void write_entry(const EntryWriteArguments& arguments,
                             int row,
                             simt::SharedArray<float, kLatentWarps>& partial) {
  const int slot = arguments.slots[row];
  if (slot < 0) {
    return;
  }
  const Pair x =
      load_pair_bf16(arguments.x + static_cast<std::int64_t>(row) * kHeadDim + latent_dimension());
  const Pair normalized = normalize_latent(x, arguments.gain, arguments.epsilon, partial);
  store_entry(normalized,
              arguments.rope + static_cast<std::int64_t>(row) * kRopeDim,
              arguments.pages,
              slot);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
