#pragma once

#include "kernels/indexer/top_k.h"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"
#include "kernels/sortable_key.cuh"

// A radix select over sortable keys: three passes of histograms (11, 11 and 10 bits from the top)
// find the k-th largest key and how many of its equals belong to the result; one more pass counts
// what each warp's stretch of the row contributes and a last one writes it, in order of index.
// No sorting, no float atomics, one chain of integer sums: the result is exact. A long row is cut
// into parts; the k best of all are among the k best of each, of which the last block selects.
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
    const std::uint32_t key = sortable_key(simt::load(scores + i));
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

// Each warp owns a stretch of the scores: counts it, learns where its results begin, writes them:
// write(place, i) for the i-th score.
template <int kWarps, class Write>
SIMT_DEVICE void compact_by_index(TopKShared<kWarps>& shared,
                                  const float* scores,
                                  int visible,
                                  TopKThreshold threshold,
                                  const Write& write) {
  const int stretch = (visible + kWarps * 32 - 1) / (kWarps * 32) * 32;
  const int warp = simt::warp_index();
  const int lane = simt::lane_index();
  const int begin = warp * stretch;
  int above = 0;
  int equal = 0;
  for (int i = begin; i < begin + stretch; i += 32) {
    const bool live = i + lane < visible;
    const std::uint32_t key = live ? sortable_key(simt::load(scores + i + lane)) : 0U;
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
    const std::uint32_t key = live ? sortable_key(simt::load(scores + i + lane)) : 0U;
    const bool is_equal = live && key == threshold.prefix;
    const std::uint32_t equals = simt::ballot(is_equal);
    const int rank = equal_before + simt::count_bits(equals & lower_lanes);
    const bool taken = (live && key > threshold.prefix) || (is_equal && rank < threshold.wanted);
    const std::uint32_t all_taken = simt::ballot(taken);
    if (taken) {
      write(written + simt::count_bits(all_taken & lower_lanes), i + lane);
    }
    written += simt::count_bits(all_taken);
    equal_before += simt::count_bits(equals);
  }
}

// The block writes the k best of `count` scores, or all of fewer; any number of warps selects the
// same.
template <int kWarps, class Write>
SIMT_DEVICE void select_best(
    TopKShared<kWarps>& shared, const float* scores, int count, int k, const Write& write) {
  if (count <= k) {
    for (int i : simt::block_stride(count)) {
      write(i, i);
    }
    return;
  }
  TopKThreshold threshold{0, k};
  threshold = narrow_threshold(shared, scores, count, threshold, 21, 11);
  threshold = narrow_threshold(shared, scores, count, threshold, 10, 11);
  threshold = narrow_threshold(shared, scores, count, threshold, 0, 10);
  compact_by_index(shared, scores, count, threshold, write);
}

// The parts that a row has in this launch.
SIMT_DEVICE int parts_of_row(const TopKArguments& arguments, int row) {
  const int visible = arguments.visible[row];
  return visible <= arguments.k || visible <= arguments.part_keys
             ? 1
             : (visible + arguments.part_keys - 1) / arguments.part_keys;
}

// The block selects among one part of a row, and among all their candidates if it comes last.
template <int kWarps>
SIMT_DEVICE void select_part(TopKShared<kWarps>& shared,
                             simt::SharedArray<int, 1>& is_last,
                             const TopKArguments& arguments,
                             int row,
                             int part) {
  const float* scores = arguments.scores + row * arguments.row_stride;
  std::int32_t* indices = arguments.indices + static_cast<std::int64_t>(row) * arguments.k;
  const int visible = arguments.visible[row];
  const int parts = parts_of_row(arguments, row);
  if (parts == 1) {
    select_best(shared, scores, visible, arguments.k, [&](int place, int i) {
      simt::store(indices + place, i);
    });
    for (int i = visible + simt::thread_index(); i < arguments.k; i += simt::block_threads()) {
      simt::store(indices + i, -1);
    }
    return;
  }
  const int of_part = TopKCandidatesOfPart(arguments);
  const std::int64_t first = row * TopKCandidates(arguments);
  std::int32_t* candidates = arguments.candidates + first;
  float* candidate_scores = arguments.candidate_scores + first;
  const int begin = part * arguments.part_keys;
  const int rest = visible - begin;
  const int count = rest < arguments.part_keys ? rest : arguments.part_keys;
  select_best(shared, scores + begin, count, arguments.k, [&](int place, int i) {
    simt::store(candidates + part * of_part + place, begin + i);
    simt::store(candidate_scores + part * of_part + place, simt::load(scores + begin + i));
  });
  if (!simt::arrive_last(arguments.arrivals + row, parts, is_last)) {
    return;
  }
  const int in_last = visible - (parts - 1) * arguments.part_keys;
  const int all = (parts - 1) * of_part + (in_last < of_part ? in_last : of_part);
  select_best(shared, candidate_scores, all, arguments.k, [&](int place, int i) {
    simt::store(indices + place, simt::load(candidates + i));
  });
}

template <int kWarps>
struct TopKPartShared {
  TopKShared<kWarps> top_k;
  simt::SharedArray<int, 1> is_last;
};

// Grid: parts, rows.
// Limits: 64 registers.
SIMT_KERNEL(kTopKWarps * 32, 1) top_k(TopKArguments arguments) {
  auto& shared = simt::shared<TopKPartShared<kTopKWarps>>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const int part = simt::block_index();
  const int row = simt::block_index_y();
  if (part < parts_of_row(arguments, row)) {
    select_part(shared.top_k, shared.is_last, arguments, row, part);
  }
}

inline bool holds(const TopKArguments& arguments) {
  return arguments.part_keys > 0 &&
         (TopKParts(arguments) == 1 ||
          (arguments.candidates != nullptr && arguments.candidate_scores != nullptr &&
           arguments.arrivals != nullptr));
}

inline int run_top_k(const TopKArguments& arguments, void* stream) {
  if (!holds(arguments)) {
    return kInvalidArguments;
  }
  const GridShape grid{.blocks = {static_cast<int>(TopKParts(arguments)), arguments.rows, 1},
                       .threads = kTopKWarps * 32,
                       .dependent = true};
  return simt::launch<TopKPartShared<kTopKWarps>>(grid, stream, top_k, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
