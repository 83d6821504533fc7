#include "kernels/attention/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"
#include "tests/unit/kernels/simt/traffic.h"

namespace sparkspan::kernels {
namespace {

std::vector<float> DrawRope(int rows) {
  std::vector<float> rope(At(rows * kRopeDim));
  for (int row = 0; row < rows; ++row) {
    for (int i = 0; i < kRopePairs; ++i) {
      const double angle = (row * 17 + 3) / std::pow(10000.0, i / 32.0);
      rope[At(row * kRopeDim + i)] = static_cast<float>(std::cos(angle));
      rope[At(row * kRopeDim + kRopePairs + i)] = static_cast<float>(std::sin(angle));
    }
  }
  return rope;
}

// Rotates the last 64 of 512 values by +-1 times the row's angles.
void Rotate(double* values, const float* rope, double direction) {
  for (int i = 0; i < kRopePairs; ++i) {
    double* pair = values + kPlainDim + 2 * i;
    const double c = rope[i];
    const double s = direction * rope[kRopePairs + i];
    const double low = pair[0] * c - pair[1] * s;
    pair[1] = pair[0] * s + pair[1] * c;
    pair[0] = low;
  }
}

// Pages on the heap, so that a sanitizer sees a step outside them.
struct Pool {
  EntryPages pages{};
  std::vector<std::uint8_t> bytes;

  Pool(int entries_per_page, int page_count) {
    const std::int64_t stride = entries_per_page * kEntryBytes + 40;
    bytes.resize(At(page_count) * static_cast<std::size_t>(stride));
    pages = {bytes.data(), stride, entries_per_page};
  }
  std::vector<double> Read(int slot) const {
    std::vector<double> values;
    const std::uint8_t* entry = pages.Entry(slot);
    for (int i = 0; i < kPlainDim; ++i) {
      values.push_back(static_cast<double>(simt::e4m3_to_float(entry[i])) *
                       simt::ue8m0_to_float(entry[kEntryScales + i / kEntryGroup]));
    }
    for (int i = 0; i < kRopeDim; ++i) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, entry + kEntryRope + i * 2, 2);
      values.push_back(Bf16Value(bits));
    }
    return values;
  }
};

TEST(EntryWrite, StoresTheNormalisedRotatedLatent) {
  constexpr int kRows = 3;
  const auto x = RandomBf16(kRows * kHeadDim, 51, 3);
  const auto gain = RandomBf16(kHeadDim, 52);
  const auto rope = DrawRope(kRows);
  const std::vector<std::int32_t> slots = {4, -1, 0};
  Pool pool(3, 2);
  InFiveOrders<std::uint8_t>([&] {
    std::fill(pool.bytes.begin(), pool.bytes.end(), std::uint8_t{0x5A});
    EmulateEntryWrite({x.data(), gain.data(), rope.data(), 1e-6F, kRows, pool.pages, slots.data()});
    return pool.bytes;
  });
  for (const int row : {0, 2}) {
    std::vector<double> expected(kHeadDim);
    double squares = 0;
    for (int i = 0; i < kHeadDim; ++i) {
      squares += std::pow(Bf16Value(x[At(row * kHeadDim + i)]), 2);
    }
    for (int i = 0; i < kHeadDim; ++i) {
      const double y = Bf16Value(x[At(row * kHeadDim + i)]) * Bf16Value(gain[At(i)]) /
                       std::sqrt(squares / kHeadDim + 1e-6);
      expected[At(i)] = Bf16Value(simt::float_to_bf16(static_cast<float>(y)));
    }
    Rotate(expected.data(), rope.data() + row * kRopeDim, 1);
    const std::uint8_t* entry = pool.pages.Entry(slots[At(row)]);
    EXPECT_EQ(entry[kEntryScales + 7], 0);
    const std::vector<double> stored = pool.Read(slots[At(row)]);
    for (int i = 0; i < kHeadDim; ++i) {
      double bound = std::max(std::fabs(expected[At(i)]) * 0x1p-8, 1e-6);
      if (i < kPlainDim) {
        double amax = 1e-4;
        for (int g = i / 64 * 64; g < i / 64 * 64 + 64; ++g) {
          amax = std::max(amax, std::fabs(expected[At(g)]));
        }
        const int byte = ScaleByte(amax, 448);
        ASSERT_EQ(entry[kEntryScales + i / 64], byte);
        // Half a code: 2^-4 of the value, or half the smallest step.
        bound = std::max(std::fabs(expected[At(i)]) / 16, std::ldexp(1.0, byte - 127 - 10));
      }
      ASSERT_NEAR(stored[At(i)], expected[At(i)], bound) << row << " " << i;
    }
  }
  EXPECT_EQ(pool.pages.Entry(1)[0], 0x5A);  // the row without a slot, and all others
  EXPECT_EQ(pool.pages.Entry(3)[0], 0x5A);
}

double Round(double value) {
  return Bf16Value(simt::float_to_bf16(static_cast<float>(value)));
}

TEST(Query, NormalisesEachHeadAndRotates) {
  constexpr int kRows = 2;
  constexpr int kHeads = 3;
  const auto q = RandomBf16(kRows * kHeads * kHeadDim, 53, 5);
  const auto rope = DrawRope(kRows);
  emulator::Report report;
  const auto out = InFiveOrders<std::uint16_t>(
      [&] {
        std::vector<std::uint16_t> in_place = q;
        EmulateQuery({in_place.data(), rope.data(), 1e-6F, kRows, kHeads});
        return in_place;
      },
      &report);
  ExpectTraffic(report, {0, kRows * kHeads * kHeadDim * 2});
  double worst = 0;
  for (int head = 0; head < kRows * kHeads; ++head) {
    std::vector<double> expected(kHeadDim);
    double squares = 0;
    for (int i = 0; i < kHeadDim; ++i) {
      squares += Round(std::pow(Bf16Value(q[At(head * kHeadDim + i)]), 2));
    }
    const double scale = Round(1 / std::sqrt(Round(Round(squares / kHeadDim) + 1e-6)));
    for (int i = 0; i < kHeadDim; ++i) {
      expected[At(i)] = Round(Bf16Value(q[At(head * kHeadDim + i)]) * scale);
    }
    Rotate(expected.data(), rope.data() + head / kHeads * kRopeDim, 1);
    for (int i = 0; i < kHeadDim; ++i) {
      // A component of a rotated pair may cancel: judged by the pair's length.
      const double length = std::hypot(expected[At(i)], expected[At(i ^ 1)]);
      worst = std::max(
          worst, std::fabs(Bf16Value(out[At(head * kHeadDim + i)]) - expected[At(i)]) / length);
    }
  }
  std::printf("worst error %.4f of 2^-8 = 0.0039 of its pair\n", worst);
  EXPECT_LT(worst, 0x1p-8);
}

struct Case {
  int heads;
  std::vector<std::pair<int, int>> counts;  // per row: window, compressed
};

class Attention : public testing::TestWithParam<Case> {};

struct Lists {
  std::vector<std::int32_t> window_slots, window_count, compressed_slots, compressed_count;
  int window_max = 0;
  int compressed_max = 0;
};

Lists DrawLists(const Case& c, int slots) {
  Lists lists;
  for (const auto& [window, compressed] : c.counts) {
    lists.window_max = std::max(lists.window_max, window);
    lists.compressed_max = std::max(lists.compressed_max, compressed);
  }
  std::mt19937 random(61);
  const auto draw = [&] { return static_cast<std::int32_t>(random() % At(slots)); };
  for (const auto& [window, compressed] : c.counts) {
    lists.window_count.push_back(window);
    lists.compressed_count.push_back(compressed);
    std::generate_n(std::back_inserter(lists.window_slots), lists.window_max, draw);
    std::generate_n(std::back_inserter(lists.compressed_slots), lists.compressed_max, draw);
  }
  return lists;
}

TEST_P(Attention, IsTheFormulaOverTheStoredBytes) {
  const Case& c = GetParam();
  const int rows = static_cast<int>(c.counts.size());
  constexpr int kSlots = 12;
  Pool window(12, 1);
  constexpr int kPages = 6;
  Pool compressed(2, kPages);
  // Each row's pages in an order of its own.
  std::vector<std::int32_t> page_table;
  for (int i = 0; i < rows * kPages; ++i) {
    page_table.push_back((i % kPages * 5 + i / kPages) % kPages);
  }
  const auto fill = [&](Pool& pool, unsigned seed) {
    const auto x = RandomBf16(kSlots * kHeadDim, seed);
    const std::vector<std::uint16_t> gain(kHeadDim, simt::float_to_bf16(1));
    const auto rope = DrawRope(kSlots);
    std::vector<std::int32_t> slots(kSlots);
    std::iota(slots.begin(), slots.end(), 0);
    emulator::Emulation emulation;
    EmulateEntryWrite(
        {x.data(), gain.data(), rope.data(), 1e-6F, kSlots, pool.pages, slots.data()});
  };
  fill(window, 62);
  fill(compressed, 63);
  const Lists lists = DrawLists(c, kSlots);
  const auto q = RandomBf16(At(rows * c.heads) * kHeadDim, 64, 2);
  const auto rope = DrawRope(rows);
  const auto sink = RandomFloats(At(c.heads), 65);

  const auto run = [&](int first, int count) {
    AttentionArguments a{};
    a.q = q.data() + At(first * c.heads) * kHeadDim;
    a.window = window.pages;
    a.window_slots = lists.window_slots.data() + first * lists.window_max;
    a.window_count = lists.window_count.data() + first;
    a.window_max = lists.window_max;
    a.compressed = compressed.pages;
    a.compressed_slots = lists.compressed_slots.data() + first * lists.compressed_max;
    a.compressed_count = lists.compressed_count.data() + first;
    a.compressed_max = lists.compressed_max;
    a.page_table = page_table.data() + first * kPages;
    a.pages_max = kPages;
    a.sink = sink.data();
    a.rope = rope.data() + first * kRopeDim;
    a.rows = count;
    a.heads = c.heads;
    const std::size_t splits = At(count * SplitsOf(a) * c.heads);
    std::vector<float> partial(splits * kHeadDim, NAN);
    std::vector<float> stats(splits * 2, NAN);
    std::vector<std::uint16_t> out(At(count * c.heads) * kHeadDim);
    a.partial = partial.data();
    a.partial_stats = stats.data();
    a.out = out.data();
    EmulateAttention(a);
    return out;
  };
  emulator::Report report;
  const auto out = InFiveOrders<std::uint16_t>([&] { return run(0, rows); }, &report);
  // Codes and rope of each entry of each row, once for 32 heads.
  std::uint64_t streamed = 0;
  for (const auto& [in_window, chosen] : c.counts) {
    streamed += At((c.heads + kHeadsPerBlock - 1) / kHeadsPerBlock * (in_window + chosen)) *
                (kPlainDim + kRopeDim * 2);
  }
  ExpectTraffic(report, {streamed, At(rows * c.heads) * kHeadDim * 2});

  std::vector<float> actual;
  std::vector<double> expected;
  for (int row = 0; row < rows; ++row) {
    std::vector<std::vector<double>> entries;
    for (int i = 0; i < lists.window_count[At(row)]; ++i) {
      entries.push_back(window.Read(lists.window_slots[At(row * lists.window_max + i)]));
    }
    for (int i = 0; i < lists.compressed_count[At(row)]; ++i) {
      const int index = lists.compressed_slots[At(row * lists.compressed_max + i)];
      entries.push_back(compressed.Read(page_table[At(row * kPages + index / 2)] * 2 + index % 2));
    }
    for (int head = 0; head < c.heads; ++head) {
      const std::size_t at = At(row * c.heads + head) * kHeadDim;
      std::vector<double> sum(kHeadDim);
      double denominator = std::exp(sink[At(head)]);
      for (const auto& entry : entries) {
        double score = 0;
        for (int i = 0; i < kHeadDim; ++i) {
          score += Bf16Value(q[at + At(i)]) * entry[At(i)];
        }
        const double weight = std::exp(score / std::sqrt(512.0));
        denominator += weight;
        for (int i = 0; i < kHeadDim; ++i) {
          sum[At(i)] += weight * entry[At(i)];
        }
      }
      for (double& value : sum) {
        value /= denominator;
      }
      Rotate(sum.data(), rope.data() + row * kRopeDim, -1);
      for (int i = 0; i < kHeadDim; ++i) {
        expected.push_back(sum[At(i)]);
        actual.push_back(simt::bf16_to_float(out[at + At(i)]));
      }
    }
  }
  // Weights and result are rounded to bf16, 2^-9 each: 2.8e-3 in root mean square at worst.
  ExpectRelativeRms(actual, expected, 3e-3);

  emulator::Emulation emulation;
  const auto alone = run(rows - 1, 1);
  EXPECT_EQ(std::memcmp(alone.data(), out.data() + out.size() - alone.size(), alone.size() * 2), 0);
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         Attention,
                         testing::Values(Case{2, {{1, 0}, {7, 0}}},
                                         Case{5, {{40, 0}, {33, 50}}},
                                         Case{33, {{9, 3}}},
                                         Case{3, {{0, 2}, {30, 40}}},
                                         // One more entry than stretches of 128 may cover.
                                         Case{1, {{5, 0}, {40, 3033}}}));

}  // namespace
}  // namespace sparkspan::kernels
