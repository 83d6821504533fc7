#pragma once

#include "kernels/indexer/top_k.h"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"
#include "kernels/sortable_key.cuh"

// A radix select over sortable keys: three passes of histograms (11, 11 and 10 bits from the top)
// find the k-th largest key and how many of its equals belong to the result; one more pass counts
// what each warp's stretch of the row contributes and a last one writes it, in order of index.
// No sorting, no float atomics, one chain of integer sums: the result is exact.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kTopKWarps = 16;
constexpr int kTopKBins = 2048;

template <int kWarps>
struct TopKShared {
  simt::SharedArray<int, kTopKBins> histogram;
  simt::SharedArray<int, kWarps> warp_totals;
  simt::SharedArray<int, 2> choice;  // the digit where the k-th key lies; keys still wanted in it
  simt::SharedArray<int, kWarps> above;  // keys larger than the threshold, by warp
  simt::SharedArray<int, kWarps> equal;
};

// The threshold as far as it is known: keys whose bits above `shift` equal `prefix` are in doubt.
struct TopKThreshold {
  std::uint32_t prefix = 0;
  int wanted = 0;
};

// Narrows the threshold by the digit of `width` bits at `shift`.
template <int kWarps>
SIMT_DEVICE TopKThreshold narrow_threshold(TopKShared<kWarps>& shared,
                                           const float* scores,
                                           int visible,
                                           TopKThreshold known,
                                           int shift,
                                           int width) {
  constexpr int kBinsPerThread = kTopKBins / (kWarps * 32);
  for (int bin : simt::block_stride(kTopKBins)) {
    shared.histogram[bin] = 0;
  }
  simt::sync_block();
  const std::uint32_t known_bits = shift + width == 32 ? 0U : 0xFFFFFFFFU << (shift + width);
  for (int i : simt::block_stride(visible)) {
    const std::uint32_t key = sortable_key(scores[i]);
    if ((key & known_bits) == known.prefix) {
      const auto digit = static_cast<int>(key >> shift & ((1U << width) - 1));
      simt::atomic_add(shared.histogram.from(digit), 1);
    }
  }
  simt::sync_block();
  // Thread t owns the t-th group of bins from the top; a scan tells it how many keys lie above.
  const int top_bin = kTopKBins - 1 - simt::thread_index() * kBinsPerThread;
  int own = 0;
  for (int i = 0; i < kBinsPerThread; ++i) {
    own += shared.histogram[top_bin - i];
  }
  const int inclusive = simt::warp_inclusive_sum(own);
  if (simt::lane_index() == 31) {
    shared.warp_totals[simt::warp_index()] = inclusive;
  }
  simt::sync_block();
  int above = inclusive - own;
  for (int warp = 0; warp < simt::warp_index(); ++warp) {
    above += shared.warp_totals[warp];
  }
  if (above < known.wanted && known.wanted <= above + own) {
    for (int i = 0; i < kBinsPerThread; ++i) {
      const int here = shared.histogram[top_bin - i];
      if (above < known.wanted && known.wanted <= above + here) {
        shared.choice[0] = top_bin - i;
        shared.choice[1] = known.wanted - above;
      }
      above += here;
    }
  }
  simt::sync_block();
  const int digit = shared.choice[0];
  return {known.prefix | static_cast<std::uint32_t>(digit) << shift, shared.choice[1]};
}

// Each warp owns a stretch of the row: counts it, learns where its results begin, writes them.
template <int kWarps>
SIMT_DEVICE void compact_by_index(TopKShared<kWarps>& shared,
                                  const float* scores,
                                  int visible,
                                  TopKThreshold threshold,
                                  std::int32_t* indices) {
  const int stretch = (visible + kWarps * 32 - 1) / (kWarps * 32) * 32;
  const int warp = simt::warp_index();
  const int lane = simt::lane_index();
  const int begin = warp * stretch;
  int above = 0;
  int equal = 0;
  for (int i = begin; i < begin + stretch; i += 32) {
    const bool live = i + lane < visible;
    const std::uint32_t key = live ? sortable_key(scores[i + lane]) : 0U;
    above += simt::count_bits(simt::ballot(live && key > threshold.prefix));
    equal += simt::count_bits(simt::ballot(live && key == threshold.prefix));
  }
  if (lane == 0) {
    shared.above[warp] = above;
    shared.equal[warp] = equal;
  }
  simt::sync_block();
  int equal_before = 0;
  int written = 0;
  for (int before = 0; before < warp; ++before) {
    const int equal_there = shared.equal[before];
    const int wanted_there = threshold.wanted - equal_before;
    written += shared.above[before];
    written += wanted_there <= 0 ? 0 : (equal_there < wanted_there ? equal_there : wanted_there);
    equal_before += equal_there;
  }
  const std::uint32_t lower_lanes = (1U << lane) - 1;
  for (int i = begin; i < begin + stretch; i += 32) {
    const bool live = i + lane < visible;
    const std::uint32_t key = live ? sortable_key(scores[i + lane]) : 0U;
    const bool is_equal = live && key == threshold.prefix;
    const std::uint32_t equals = simt::ballot(is_equal);
    const int rank = equal_before + simt::count_bits(equals & lower_lanes);
    const bool taken = (live && key > threshold.prefix) || (is_equal && rank < threshold.wanted);
    const std::uint32_t all_taken = simt::ballot(taken);
    if (taken) {
      indices[written + simt::count_bits(all_taken & lower_lanes)] = i + lane;
    }
    written += simt::count_bits(all_taken);
    equal_before += simt::count_bits(equals);
  }
}

// The block selects among a row's scores; any number of warps selects the same.
template <int kWarps>
SIMT_DEVICE void select_row(TopKShared<kWarps>& shared, const TopKArguments& arguments, int row) {
  const float* scores = arguments.scores + row * arguments.row_stride;
  std::int32_t* indices = arguments.indices + static_cast<std::int64_t>(row) * arguments.k;
  const int visible = arguments.visible[row];
  if (visible <= arguments.k) {
    for (int i : simt::block_stride(arguments.k)) {
      indices[i] = i < visible ? i : -1;
    }
    return;
  }
  TopKThreshold threshold{0, arguments.k};
  threshold = narrow_threshold(shared, scores, visible, threshold, 21, 11);
  threshold = narrow_threshold(shared, scores, visible, threshold, 10, 11);
  threshold = narrow_threshold(shared, scores, visible, threshold, 0, 10);
  compact_by_index(shared, scores, visible, threshold, indices);
}

// Limits: 48 registers.
SIMT_KERNEL(kTopKWarps * 32, 1) top_k(TopKArguments arguments) {
  auto& shared = simt::shared<TopKShared<kTopKWarps>>();
  simt::dependency_trigger();
  simt::dependency_wait();
  select_row(shared, arguments, simt::block_index());
}

inline int run_top_k(const TopKArguments& arguments, void* stream) {
  const GridShape grid{
      .blocks = {arguments.rows, 1, 1}, .threads = kTopKWarps * 32, .dependent = true};
  return simt::launch<TopKShared<kTopKWarps>>(grid, stream, top_k, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
