#pragma once

// A step's sampling as the ranks' devices do it, exchanges included.

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/sampling/sample.h"
#include "tests/unit/kernels/simt/closeness.h"

namespace sparkspan::kernels {

struct SampledStep {
  int vocabulary = 0;
  std::vector<float> logits;        // [rows, vocabulary]
  std::vector<SampleRow> settings;  // [rows]
  std::vector<float> drafters;      // [drafter rows, vocabulary]; or empty
  std::vector<int> cuts = {0};      // the first token of each rank

  // What the ranks say, [ranks, rows].
  std::vector<RowChoice> Choices() const {
    const int rows = static_cast<int>(settings.size());
    const int ranks = static_cast<int>(cuts.size());
    std::vector<std::vector<float>> parts, drafter_parts;
    int largest_share = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      parts.push_back(PartOf(logits, rank));
      drafter_parts.push_back(PartOf(drafters, rank));
      largest_share = std::max(largest_share, ShareOf(rank));
    }
    const int stretches = PickBlocks(largest_share);
    const auto has_both = [](const SampleRow& row) { return row.top_k > 0 && row.top_p < 1; };
    const int passes = std::any_of(settings.begin(), settings.end(), has_both) ? kPassesMax : 3;
    // What the arrays hold before must not matter.
    std::vector<LargestKeys> largest(At(ranks * rows * stretches), {0xDEADBEEFU, 0xDEADBEEFU});
    std::vector<std::uint32_t> counts(At(passes * ranks * rows * kScoreBins), 77);
    std::vector<std::uint64_t> masses(counts.size(), 77);
    std::vector<std::uint64_t> draft_mass(largest.size(), 77);
    std::vector<RowChoice> choices(At(ranks * rows));
    std::vector<std::vector<std::uint32_t>> ties(
        At(ranks), std::vector<std::uint32_t>(At(rows * stretches * kTieBins), 77));
    std::vector<std::vector<FilterState>> states(At(ranks),
                                                 std::vector<FilterState>(At(passes * rows)));
    std::vector<std::vector<RowChoice>> partial(At(ranks),
                                                std::vector<RowChoice>(At(rows * stretches)));
    const auto of_rank = [&](int rank) {
      SampleArguments a{};
      a.share = {parts[At(rank)].data(), nullptr, nullptr, ShareOf(rank), cuts[At(rank)]};
      if (!drafters.empty()) {
        a.drafters = a.share;
        a.drafters.logits = drafter_parts[At(rank)].data();
      }
      a.settings = settings.data();
      a.rows = rows;
      a.ranks = ranks;
      a.rank = rank;
      a.stretches = stretches;
      a.passes = passes;
      a.largest = largest.data();
      a.counts = counts.data();
      a.masses = masses.data();
      a.draft_mass = draft_mass.data();
      a.ties = ties[At(rank)].data();
      a.states = states[At(rank)].data();
      a.partial = partial[At(rank)].data();
      a.choices = choices.data();
      return a;
    };
    for (int rank = 0; rank < ranks; ++rank) {
      EmulateMeasureScores(of_rank(rank));
    }
    for (int pass = 0; pass < passes; ++pass) {
      for (int rank = 0; rank < ranks; ++rank) {
        EmulateCountScores({of_rank(rank), pass});
      }
    }
    for (int rank = 0; rank < ranks; ++rank) {
      EmulateDrawTokens(of_rank(rank));
    }
    return choices;
  }

  // The token of each row, none of which has a draft.
  std::vector<std::int32_t> Tokens() const {
    const int rows = static_cast<int>(settings.size());
    std::vector<std::int32_t> first_row(settings.size());
    std::iota(first_row.begin(), first_row.end(), 0);
    return Verdicts(first_row, std::vector<std::int32_t>(At(rows), 0), {}, 0).next;
  }

  struct Verdict {
    std::vector<std::int32_t> accepted;
    std::vector<std::int32_t> next;
  };
  // Of sequences whose drafts lie [sequences, drafts_max].
  Verdict Verdicts(const std::vector<std::int32_t>& first_row,
                   const std::vector<std::int32_t>& draft_count,
                   const std::vector<std::int32_t>& drafts,
                   int drafts_max) const {
    const std::vector<RowChoice> choices = Choices();
    Verdict verdict{std::vector<std::int32_t>(first_row.size()),
                    std::vector<std::int32_t>(first_row.size())};
    EmulateAccept({nullptr,
                   choices.data(),
                   static_cast<int>(cuts.size()),
                   static_cast<int>(settings.size()),
                   drafts.data(),
                   first_row.data(),
                   draft_count.data(),
                   static_cast<int>(first_row.size()),
                   drafts_max,
                   verdict.accepted.data(),
                   verdict.next.data()});
    return verdict;
  }

 private:
  int ShareOf(int rank) const {
    return (At(rank + 1) < cuts.size() ? cuts[At(rank + 1)] : vocabulary) - cuts[At(rank)];
  }
  std::vector<float> PartOf(const std::vector<float>& whole, int rank) const {
    std::vector<float> part;
    for (std::size_t row = 0; row < whole.size(); row += At(vocabulary)) {
      const auto first = whole.begin() + static_cast<std::ptrdiff_t>(row) + cuts[At(rank)];
      part.insert(part.end(), first, first + ShareOf(rank));
    }
    return part;
  }
};

}  // namespace sparkspan::kernels
