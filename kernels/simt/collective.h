#pragma once

// What the dialect builds from its own primitives, the same text for both targets: strided loops
// and reductions. Included by simt.h.
#include "kernels/simt/fragment.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {
namespace simt {

// for (int i : block_stride(n)): i = thread, thread + threads, ...
class Stride {
 public:
  class Iterator {
   public:
    SIMT_DEVICE Iterator(int i, int step) : i_(i), step_(step) {}
    SIMT_DEVICE int operator*() const { return i_; }
    SIMT_DEVICE Iterator& operator++() {
      i_ += step_;
      return *this;
    }
    // "Not yet past the end": the last step may jump over it.
    SIMT_DEVICE bool operator!=(const Iterator& end) const { return i_ < end.i_; }

   private:
    int i_;
    int step_;
  };
  SIMT_DEVICE Stride(int first, int end, int step) : first_(first), end_(end), step_(step) {}
  SIMT_DEVICE Iterator begin() const { return {first_, step_}; }
  SIMT_DEVICE Iterator end() const { return {end_, step_}; }

 private:
  int first_;
  int end_;
  int step_;
};

SIMT_DEVICE Stride block_stride(int n) {
  return {thread_index(), n, block_threads()};
}
SIMT_DEVICE Stride warp_stride(int n) {
  return {lane_index(), n, 32};
}

// Butterflies: every lane adds the same pairs, so every lane gets the same bits.
SIMT_DEVICE float warp_sum(float value) {
  for (int mask = 16; mask > 0; mask /= 2) {
    value += shuffle_xor(value, mask);
  }
  return value;
}
SIMT_DEVICE float warp_max(float value) {
  for (int mask = 16; mask > 0; mask /= 2) {
    value = maximum(value, shuffle_xor(value, mask));
  }
  return value;
}

// The sum of the values of this lane and all lower ones.
SIMT_DEVICE int warp_inclusive_sum(int value) {
  for (int distance = 1; distance < 32; distance *= 2) {
    const int below = shuffle_up(value, distance);
    value += lane_index() >= distance ? below : 0;
  }
  return value;
}

// The sum over the block in warp order, the same bits in every lane. `partial` has one element per
// warp and may be used again at once.
template <int warps>
SIMT_DEVICE float block_sum(float value, SharedArray<float, warps>& partial) {
  value = warp_sum(value);
  if (lane_index() == 0) {
    partial[warp_index()] = value;
  }
  sync_block();
  float sum = 0;
  for (int warp = 0; warp < warps; ++warp) {
    sum += partial[warp];
  }
  sync_block();
  return sum;
}
template <int warps>
SIMT_DEVICE float block_max(float value, SharedArray<float, warps>& partial) {
  value = warp_max(value);
  if (lane_index() == 0) {
    partial[warp_index()] = value;
  }
  sync_block();
  float result = partial[0];
  for (int warp = 1; warp < warps; ++warp) {
    result = maximum(result, partial[warp]);
  }
  sync_block();
  return result;
}

// Counts this block among `blocks` that write parts of something: true, in all its lanes, for the
// one that comes last, which then sees what the others wrote before and may finish it. Which block
// that is must not show in the bits. Zeroes the counter for the next launch.
SIMT_DEVICE bool arrive_last(std::int32_t* counter, int blocks, SharedArray<int, 1>& is_last) {
  sync_block();
  if (thread_index() == 0) {
    // One lane's fence serves the block, by the barriers around: it comes after all that the other
    // lanes stored, and before all that they load.
    fence_device();
    const bool last = atomic_add(counter, 1) == blocks - 1;
    if (last) {
      atomic_exchange(counter, 0);
      fence_device();
    }
    is_last[0] = last ? 1 : 0;
  }
  sync_block();
  return is_last[0] != 0;
}

// Calls visit(row, column, value) for each of the lane's four elements of a 16 x 8 product.
template <class Visit>
SIMT_DEVICE void for_each(float (&accumulator)[4], const Visit& visit) {
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    const Cell cell = Accumulator16x8::At(lane_index(), i);
    visit(cell.row, cell.column, accumulator[i]);
  }
}

}  // namespace simt
}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
