#pragma once

#include "kernels/sampling/sample.h"
#include "kernels/sampling/scores.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"
#include "kernels/sortable_key.cuh"

// Which tokens of a row stay: a radix search by count or by mass over histograms that the blocks of
// all ranks fill together. Each block of a launch reads the histogram of the launch before and
// finds for itself how far the search has come, so nobody waits for a block that comes last.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kBinsPerThread = kScoreBins / kPickThreads;

struct ScoreDigit {
  int shift;
  int width;
};
SIMT_DEVICE ScoreDigit digit_of_pass(int pass) {
  // Passes 3 and 4 look for the mass; their first digit was counted in pass 0.
  const int level = pass < 3 ? pass : pass - 2;
  return level == 0 ? ScoreDigit{21, 11} : level == 1 ? ScoreDigit{10, 11} : ScoreDigit{0, 10};
}

// What a row asks for.
SIMT_DEVICE bool cuts_by_count(const SampleRow& settings) {
  return settings.top_k > 0;
}
SIMT_DEVICE bool cuts_by_mass(const SampleRow& settings) {
  return settings.top_p < 1;
}
SIMT_DEVICE bool has_draft(const SampleRow& settings) {
  return settings.temperature > 0 && settings.drafter_row >= 0;
}
SIMT_DEVICE int passes_of(const SampleRow& settings) {
  if (!(settings.temperature > 0)) {
    return 0;
  }
  if (cuts_by_count(settings) && cuts_by_mass(settings)) {
    return kPassesMax;
  }
  if (cuts_by_count(settings) || cuts_by_mass(settings)) {
    return 3;
  }
  // The mass of all that stay is wanted, or the largest score.
  return settings.min_p > 0 || has_draft(settings) ? 1 : 0;
}

SIMT_DEVICE std::uint32_t largest_of_warp(std::uint32_t key) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const std::uint32_t other = simt::shuffle_xor(key, mask);
    key = other > key ? other : key;
  }
  return key;
}

// The key of the largest of a row's scores, or of its drafter's, over all stretches and ranks; 0
// where nothing is allowed. Every warp finds it for itself.
SIMT_DEVICE std::uint32_t largest_of_row(const SampleArguments& arguments,
                                         int row,
                                         bool of_drafter) {
  std::uint32_t largest = 0;
  for (int i : simt::warp_stride(arguments.ranks * arguments.stretches)) {
    const int rank = i / arguments.stretches;
    const LargestKeys keys =
        arguments.largest[(static_cast<std::int64_t>(rank) * arguments.rows + row) *
                              arguments.stretches +
                          i % arguments.stretches];
    const std::uint32_t key = of_drafter ? keys.drafter : keys.target;
    largest = key > largest ? key : largest;
  }
  return largest_of_warp(largest);
}

SIMT_DEVICE float weight_of(float score, float largest, float temperature) {
  return simt::exp(simt::divide(score - largest, temperature));
}
SIMT_DEVICE std::uint64_t mass_of(float weight) {
  return static_cast<std::uint64_t>(weight * static_cast<float>(kMassOne));
}
SIMT_DEVICE bool is_candidate(float score) {
  return score != forbidden() && is_number(score);
}

// ceil(share of mass), at least 1, for a share below 1.
SIMT_DEVICE std::uint64_t share_of_mass(float share, std::uint64_t mass) {
  const std::uint64_t factor = static_cast<std::uint32_t>(share * 0x1p32F);
  const std::uint64_t low = (mass & 0xFFFFFFFFU) * factor;
  const std::uint64_t product = (mass >> 32) * factor + (low >> 32);
  const std::uint64_t up = product + ((low & 0xFFFFFFFFU) != 0 ? 1 : 0);
  return up > 1 ? up : 1;
}

struct FilterShared {
  simt::SharedArray<std::uint32_t, kPickWarps> warp_counts;
  simt::SharedArray<std::uint64_t, kPickWarps> warp_masses;
  // The bin that was looked for, and the counts and masses before it and in it.
  simt::SharedArray<std::uint32_t, 3> found_counts;
  simt::SharedArray<std::uint64_t, 2> found_masses;
};

struct Bin {
  std::uint32_t count;
  std::uint64_t mass;
};
struct FoundBin {
  int bin;
  std::uint64_t wanted;  // what was looked for
  Bin before;
  Bin here;
  Bin total;
};

// A bin of a pass's histogram, over all ranks.
SIMT_DEVICE Bin load_bin(const SampleArguments& arguments, int pass, int row, int bin) {
  Bin sum{0, 0};
  for (int rank = 0; rank < arguments.ranks; ++rank) {
    const std::int64_t at =
        ((static_cast<std::int64_t>(pass) * arguments.ranks + rank) * arguments.rows + row) *
            kScoreBins +
        bin;
    sum.count += arguments.counts[at];
    sum.mass += arguments.masses[at];
  }
  return sum;
}

template <class T>
SIMT_DEVICE T inclusive_sum_of_lanes(T value) {
  for (int distance = 1; distance < 32; distance *= 2) {
    const T below = simt::shuffle_up(value, distance);
    value += simt::lane_index() >= distance ? below : 0;
  }
  return value;
}

// Finds, from the top, the bin with which the mass, or the count, reaches decide(total), which is
// at least 1 and at most the total. All lanes get it.
template <class Decide>
SIMT_DEVICE FoundBin find_bin(FilterShared& shared,
                              const SampleArguments& arguments,
                              int pass,
                              int row,
                              bool by_mass,
                              const Decide& decide) {
  const int top = kScoreBins - 1 - simt::thread_index() * kBinsPerThread;
  Bin own{0, 0};
  for (int i = 0; i < kBinsPerThread; ++i) {
    const Bin bin = load_bin(arguments, pass, row, top - i);
    own.count += bin.count;
    own.mass += bin.mass;
  }
  Bin reached{inclusive_sum_of_lanes(own.count), inclusive_sum_of_lanes(own.mass)};
  if (simt::lane_index() == 31) {
    shared.warp_counts[simt::warp_index()] = reached.count;
    shared.warp_masses[simt::warp_index()] = reached.mass;
  }
  simt::sync_block();
  Bin total{0, 0};
  for (int warp = 0; warp < kPickWarps; ++warp) {
    const Bin of_warp{shared.warp_counts[warp], shared.warp_masses[warp]};
    reached.count += warp < simt::warp_index() ? of_warp.count : 0;
    reached.mass += warp < simt::warp_index() ? of_warp.mass : 0;
    total.count += of_warp.count;
    total.mass += of_warp.mass;
  }
  const auto amount = [&](const Bin& bin) {
    return by_mass ? bin.mass : static_cast<std::uint64_t>(bin.count);
  };
  const std::uint64_t wanted = decide(total);
  Bin before{reached.count - own.count, reached.mass - own.mass};
  if (amount(before) < wanted && wanted <= amount(reached)) {
    for (int i = 0; i < kBinsPerThread; ++i) {
      const Bin here = load_bin(arguments, pass, row, top - i);
      if (amount(before) < wanted && wanted <= amount(before) + amount(here)) {
        shared.found_counts[0] = static_cast<std::uint32_t>(top - i);
        shared.found_counts[1] = before.count;
        shared.found_counts[2] = here.count;
        shared.found_masses[0] = before.mass;
        shared.found_masses[1] = here.mass;
      }
      before.count += here.count;
      before.mass += here.mass;
    }
  }
  simt::sync_block();
  return {static_cast<int>(shared.found_counts[0]),
          wanted,
          {shared.found_counts[1], shared.found_masses[0]},
          {shared.found_counts[2], shared.found_masses[1]},
          total};
}

// A search by count or by mass, and the bin that its last digit was found in.
struct Search {
  bool by_mass;
  FilterState state;
  Bin here;
};

// Takes the digit that `pass` counted to what is known.
SIMT_DEVICE void narrow(
    Search& search, FilterShared& shared, const SampleArguments& arguments, int row, int pass) {
  const FilterState known = search.state;
  const float top_p = arguments.settings[row].top_p;
  const FoundBin found =
      find_bin(shared, arguments, pass, row, search.by_mass, [&](const Bin& total) {
        if (search.by_mass) {
          return known.wanted_mass > 0 ? known.wanted_mass : share_of_mass(top_p, total.mass);
        }
        return static_cast<std::uint64_t>(known.wanted < total.count ? known.wanted : total.count);
      });
  search.state.prefix |= static_cast<std::uint32_t>(found.bin) << digit_of_pass(pass).shift;
  search.state.above_mass += found.before.mass;
  if (search.by_mass) {
    search.state.wanted_mass = found.wanted - found.before.mass;
  } else {
    search.state.wanted = static_cast<std::uint32_t>(found.wanted) - found.before.count;
  }
  search.here = found.here;
}

// What stays of a row.
struct Threshold {
  std::uint32_t key;
  std::uint32_t stay;    // keys equal to it that stay, the lowest tokens
  std::uint32_t equals;  // keys equal to it
  std::uint64_t mass;    // of all that stay
};

// After the last digit all keys in the bin are equal, and so are their weights.
SIMT_DEVICE Threshold complete(const Search& search) {
  const std::uint64_t each = search.here.mass / search.here.count;
  const auto stay = search.by_mass
                        ? static_cast<std::uint32_t>((search.state.wanted_mass + each - 1) / each)
                        : search.state.wanted;
  return {search.state.prefix, stay, search.here.count, search.state.above_mass + stay * each};
}

// The search as it stands before `pass` of a row that takes part in it.
SIMT_DEVICE Search enter_pass(FilterShared& shared,
                              const SampleArguments& arguments,
                              const SampleRow& settings,
                              int pass,
                              int row) {
  const bool by_mass = !cuts_by_count(settings);
  Search search{by_mass, {0, static_cast<std::uint32_t>(settings.top_k), 0, 0}, {0, 0}};
  if (pass == 0) {
    return search;
  }
  if (pass > 1) {
    search.by_mass = by_mass || pass > 3;
    search.state = arguments.states[(pass - 1) * arguments.rows + row];
  }
  narrow(search, shared, arguments, row, pass - 1);
  if (pass == 3 && passes_of(settings) == kPassesMax) {
    // The k likeliest are known, and so is the mass that the second search is to find a share of.
    // What lies behind them does not show in sums from the top.
    const std::uint64_t whole = complete(search).mass;
    search = {true, {0, 0, share_of_mass(settings.top_p, whole), 0}, {0, 0}};
    narrow(search, shared, arguments, row, 0);
  }
  return search;
}

struct CountShared {
  FilterShared filter;
  simt::SharedArray<std::uint32_t, kScoreBins> counts;
  // Low and high bits of the masses, so that 32 bits hold what a block adds.
  simt::SharedArray<std::uint32_t, kScoreBins> low;
  simt::SharedArray<std::uint32_t, kScoreBins> high;
};
constexpr int kLowMassBits = 20;

SIMT_DEVICE void count_score(CountShared& shared, std::uint32_t bin, std::uint64_t mass) {
  const int at = static_cast<int>(bin);
  simt::atomic_add(shared.counts.from(at), 1U);
  const auto low = static_cast<std::uint32_t>(mass) & ((1U << kLowMassBits) - 1);
  const auto high = static_cast<std::uint32_t>(mass >> kLowMassBits);
  if (low != 0) {
    simt::atomic_add(shared.low.from(at), low);
  }
  if (high != 0) {
    simt::atomic_add(shared.high.from(at), high);
  }
}

// The block's part of the mass of the distribution that the row's draft was drawn of.
SIMT_DEVICE void sum_drafter(CountShared& shared,
                             const SampleArguments& arguments,
                             const SampleRow& settings,
                             int row,
                             int stretch) {
  const float largest = score_of_key(largest_of_row(arguments, row, true));
  std::uint64_t mass = 0;
  for_each_group(arguments.drafters, stretch, [&](int group) {
    const FourScores four = load_scores(arguments.drafters, settings.drafter_row, group);
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (is_candidate(four.score[i])) {
        mass += mass_of(weight_of(four.score[i], largest, settings.temperature));
      }
    }
  });
  mass = inclusive_sum_of_lanes(mass);
  if (simt::lane_index() == 31) {
    shared.filter.warp_masses[simt::warp_index()] = mass;
  }
  simt::sync_block();
  if (simt::thread_index() == 0) {
    mass = 0;
    for (int warp = 0; warp < kPickWarps; ++warp) {
      mass += shared.filter.warp_masses[warp];
    }
    simt::store(arguments.draft_mass +
                    (static_cast<std::int64_t>(arguments.rank) * arguments.rows + row) *
                        arguments.stretches +
                    stretch,
                mass);
  }
}

// Grid: stretches of the vocabulary, rows.
// Limits: 64 registers.
SIMT_KERNEL(kPickThreads) count_scores(CountScoresArguments arguments) {
  auto& shared = simt::shared<CountShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const SampleArguments& sample = arguments.sample;
  const int pass = arguments.pass;
  const int stretch = simt::block_index();
  const int row = simt::block_index_y();
  const SampleRow settings = sample.settings[row];
  if (pass >= passes_of(settings)) {
    return;
  }
  const std::uint32_t largest_key = largest_of_row(sample, row, false);
  if (largest_key == 0) {
    return;
  }
  for (int bin : simt::block_stride(kScoreBins)) {
    shared.counts[bin] = 0;
    shared.low[bin] = 0;
    shared.high[bin] = 0;
  }
  const Search search = enter_pass(shared.filter, sample, settings, pass, row);
  if (stretch == 0 && simt::thread_index() == 0) {
    simt::store(sample.states + pass * sample.rows + row, search.state);
  }
  simt::sync_block();
  const ScoreDigit digit = digit_of_pass(pass);
  const std::uint32_t known =
      digit.shift + digit.width == 32 ? 0U : 0xFFFFFFFFU << (digit.shift + digit.width);
  const float largest = score_of_key(largest_key);
  for_each_group(sample.share, stretch, [&](int group) {
    const FourScores four = load_scores(sample.share, row, group);
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float score = four.score[i];
      const std::uint32_t key = sortable_key(score);
      if (!is_candidate(score) || (key & known) != search.state.prefix) {
        continue;
      }
      const float weight = weight_of(score, largest, settings.temperature);
      if (weight >= settings.min_p) {
        count_score(shared, key >> digit.shift & ((1U << digit.width) - 1), mass_of(weight));
      }
    }
  });
  simt::sync_block();
  const std::int64_t first =
      ((static_cast<std::int64_t>(pass) * sample.ranks + sample.rank) * sample.rows + row) *
      kScoreBins;
  for (int bin : simt::block_stride(kScoreBins)) {
    const std::uint32_t count = shared.counts[bin];
    if (digit.shift == 0 && bin < kTieBins) {
      simt::store(sample.ties +
                      (static_cast<std::int64_t>(row) * sample.stretches + stretch) * kTieBins +
                      bin,
                  count);
    }
    if (count != 0) {
      simt::reduce_add(sample.counts + first + bin, count);
      simt::reduce_add(
          sample.masses + first + bin,
          (static_cast<std::uint64_t>(shared.high[bin]) << kLowMassBits) + shared.low[bin]);
    }
  }
  if (pass == 0 && has_draft(settings)) {
    sum_drafter(shared, sample, settings, row, stretch);
  }
}

// The largest key of a row in one stretch of a share; lane 0 of warp 0 has it.
SIMT_DEVICE std::uint32_t largest_of_stretch(FilterShared& shared,
                                             const VocabularyShare& share,
                                             std::int64_t row,
                                             int stretch) {
  std::uint32_t largest = 0;
  for_each_group(share, stretch, [&](int group) {
    const FourScores four = load_scores(share, row, group);
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t key = is_candidate(four.score[i]) ? sortable_key(four.score[i]) : 0U;
      largest = key > largest ? key : largest;
    }
  });
  largest = largest_of_warp(largest);
  if (simt::lane_index() == 0) {
    shared.warp_counts[simt::warp_index()] = largest;
  }
  simt::sync_block();
  for (int warp = 0; warp < kPickWarps; ++warp) {
    const std::uint32_t of_warp = shared.warp_counts[warp];
    largest = of_warp > largest ? of_warp : largest;
  }
  simt::sync_block();
  return largest;
}

// Grid: stretches of the vocabulary, rows. Empties the histograms, too.
// Limits: 40 registers.
SIMT_KERNEL(kPickThreads) measure_scores(SampleArguments arguments) {
  auto& shared = simt::shared<FilterShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const int stretch = simt::block_index();
  const int row = simt::block_index_y();
  const SampleRow settings = arguments.settings[row];
  const int passes = passes_of(settings);
  if (passes == 0) {
    return;
  }
  LargestKeys largest{largest_of_stretch(shared, arguments.share, row, stretch), 0};
  if (has_draft(settings)) {
    largest.drafter = largest_of_stretch(shared, arguments.drafters, settings.drafter_row, stretch);
  }
  if (simt::thread_index() == 0) {
    simt::store(arguments.largest +
                    (static_cast<std::int64_t>(arguments.rank) * arguments.rows + row) *
                        arguments.stretches +
                    stretch,
                largest);
  }
  for (int i = stretch * kPickThreads + simt::thread_index(); i < passes * kScoreBins;
       i += arguments.stretches * kPickThreads) {
    const std::int64_t at =
        ((static_cast<std::int64_t>(i / kScoreBins) * arguments.ranks + arguments.rank) *
             arguments.rows +
         row) *
            kScoreBins +
        i % kScoreBins;
    simt::store(arguments.counts + at, 0);
    simt::store(arguments.masses + at, 0);
  }
}

inline GridShape grid_of(const SampleArguments& arguments) {
  return {.blocks = {arguments.stretches, arguments.rows, 1},
          .threads = kPickThreads,
          .dependent = true};
}

inline bool fits(const SampleArguments& arguments) {
  return arguments.stretches >= PickBlocks(arguments.share.vocabulary) &&
         (arguments.drafters.logits == nullptr ||
          (arguments.drafters.vocabulary == arguments.share.vocabulary &&
           arguments.drafters.first_token == arguments.share.first_token));
}

inline int run_measure_scores(const SampleArguments& arguments, void* stream) {
  if (!fits(arguments)) {
    return kInvalidArguments;
  }
  return simt::launch<FilterShared>(grid_of(arguments), stream, measure_scores, arguments);
}

inline int run_count_scores(const CountScoresArguments& arguments, void* stream) {
  if (!fits(arguments.sample) || arguments.pass >= arguments.sample.passes) {
    return kInvalidArguments;
  }
  return simt::launch<CountShared>(grid_of(arguments.sample), stream, count_scores, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
