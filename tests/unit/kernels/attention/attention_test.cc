#include "kernels/attention/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "kernels/reference/attention.h"
#include "kernels/reference/norm.h"
#include "kernels/reference/quantise.h"
#include "kernels/reference/rope.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

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

// Rotates the last 64 of 512 values by the row's angles, or back by them.
void Rotate(std::span<float> values, const std::vector<float>& rope, int row, bool inverse) {
  const auto angles = RowOf(rope, row, kRopeDim);
  reference::ApplyRope(
      values.last(kRopeDim), angles.first(kRopePairs), angles.last(kRopePairs), inverse, true);
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
  std::vector<float> Read(int slot) const {
    std::vector<float> values(kHeadDim);
    reference::DecodeEntry(numerics::kQuantised,
                           reinterpret_cast<const std::byte*>(pages.Entry(slot)),
                           kRopeDim,
                           values);
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
  emulator::Report report;
  InFiveOrders<std::uint8_t>(
      [&] {
        std::fill(pool.bytes.begin(), pool.bytes.end(), std::uint8_t{0x5A});
        EmulateEntryWrite(
            {x.data(), gain.data(), rope.data(), 1e-6F, kRows, pool.pages, slots.data()});
        return pool.bytes;
      },
      &report);
  ExpectTraffic({"EntryWrite"}, report, {});
  std::vector<std::uint8_t> stored;
  std::vector<float> expected;
  for (const int row : {0, 2}) {
    const std::uint8_t* entry = pool.pages.Entry(slots[At(row)]);
    stored.insert(stored.end(), entry, entry + kEntryBytes);
    std::vector<float> y = Widened(RowOf(x, row, kHeadDim));
    reference::RmsNorm(y, Widened(gain), 1e-6F, true, y);
    Rotate(y, rope, row, false);
    expected.insert(expected.end(), y.begin(), y.end());
  }
  Comparison({"EntryWrite"}, "RmsNorm, ApplyRope, EncodeEntry").Entries(stored, expected);
  EXPECT_EQ(pool.pages.Entry(1)[0], 0x5A);  // the row without a slot, and all others
  EXPECT_EQ(pool.pages.Entry(3)[0], 0x5A);
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
  ExpectTraffic({"Query"}, report, {0, 0, kRows * kHeads * kHeadDim * 2});
  std::vector<float> expected = Widened(q);
  for (int head = 0; head < kRows * kHeads; ++head) {
    const auto values = RowOf(expected, head, kHeadDim);
    reference::HeadRmsNorm(values, 1e-6F, true);
    Rotate(values, rope, head / kHeads, false);
  }
  Comparison({"Query"}, "HeadRmsNorm, ApplyRope").Bf16(out, expected);
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

constexpr int kSlots = 12;
constexpr int kPages = 6;

Lists DrawLists(const Case& c) {
  Lists lists;
  for (const auto& [window, compressed] : c.counts) {
    lists.window_max = std::max(lists.window_max, window);
    lists.compressed_max = std::max(lists.compressed_max, compressed);
  }
  std::mt19937 random(61);
  const auto draw = [&] { return static_cast<std::int32_t>(random() % kSlots); };
  for (const auto& [window, compressed] : c.counts) {
    lists.window_count.push_back(window);
    lists.compressed_count.push_back(compressed);
    std::generate_n(std::back_inserter(lists.window_slots), lists.window_max, draw);
    std::generate_n(std::back_inserter(lists.compressed_slots), lists.compressed_max, draw);
  }
  return lists;
}

// Rows with lists of entries in a window and in pages, and what attention makes of them.
struct Problem {
  Case c;
  int rows;
  Lists lists;
  Pool window{kSlots, 1};
  Pool compressed{2, kPages};
  std::vector<std::int32_t> page_table;  // each row's pages in an order of its own
  std::vector<std::uint16_t> q;
  std::vector<float> rope;
  std::vector<float> sink;

  explicit Problem(const Case& shape)
      : c(shape),
        rows(static_cast<int>(c.counts.size())),
        lists(DrawLists(c)),
        q(RandomBf16(At(rows * c.heads) * kHeadDim, 64, 2)),
        rope(DrawRope(rows)),
        sink(RandomFloats(At(c.heads), 65)) {
    Fill(window, 62);
    Fill(compressed, 63);
    for (int i = 0; i < rows * kPages; ++i) {
      page_table.push_back((i % kPages * 5 + i / kPages) % kPages);
    }
  }

  // Makes the first of every sixteen places the one that all heads like best. The weights that are
  // rounded to bf16 are relative to the largest score so far, which then is the same wherever a
  // list is cut: in the reference's blocks of 64 and in the kernel's tiles and stretches.
  void LeadEverySixteenPlaces() {
    const std::vector<float> leader = window.Read(0);
    std::memcpy(compressed.pages.Entry(0), window.pages.Entry(0), kEntryBytes);
    q = RandomBf16(q.size(), 66, 0.7F);
    for (std::size_t i = 0; i < q.size(); ++i) {
      q[i] = simt::float_to_bf16(simt::bf16_to_float(q[i]) + 0.25F * leader[i % kHeadDim]);
    }
    for (int row = 0; row < rows; ++row) {
      const auto page = std::find(page_table.begin() + row * kPages, page_table.end(), 0);
      const auto of_leader =
          static_cast<std::int32_t>(2 * (page - (page_table.begin() + row * kPages)));
      const auto places = RowOf(lists.window_slots, row, lists.window_max);
      for (std::size_t i = 0; i < places.size(); ++i) {
        places[i] = i % 16 == 0 ? 0 : std::max(places[i], 1);
      }
      const auto further = RowOf(lists.compressed_slots, row, lists.compressed_max);
      for (std::size_t i = 0; i < further.size(); ++i) {
        const bool leads = (i + At(lists.window_count[At(row)])) % 16 == 0;
        further[i] = leads ? of_leader : further[i] == of_leader ? of_leader + 1 : further[i];
      }
    }
  }

  std::vector<std::uint16_t> Run(int first, int count) const {
    AttentionArguments a{};
    a.q = q.data() + static_cast<std::ptrdiff_t>(first) * c.heads * kHeadDim;
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
  }

  // By the reference; without `round` nothing but the rotated result is rounded.
  std::vector<float> Expected(bool round) const {
    std::vector<float> expected(q.size());
    for (int row = 0; row < rows; ++row) {
      std::vector<float> entries;
      const auto append = [&](const std::vector<float>& entry) {
        entries.insert(entries.end(), entry.begin(), entry.end());
      };
      for (int i = 0; i < lists.window_count[At(row)]; ++i) {
        append(window.Read(lists.window_slots[At(row * lists.window_max + i)]));
      }
      for (int i = 0; i < lists.compressed_count[At(row)]; ++i) {
        const int index = lists.compressed_slots[At(row * lists.compressed_max + i)];
        append(compressed.Read(page_table[At(row * kPages + index / 2)] * 2 + index % 2));
      }
      std::vector<std::int32_t> places(entries.size() / kHeadDim);
      std::iota(places.begin(), places.end(), 0);
      for (int head = 0; head < c.heads; ++head) {
        const auto out = RowOf(expected, row * c.heads + head, kHeadDim);
        reference::Attend(Widened(RowOf(q, row * c.heads + head, kHeadDim)),
                          entries,
                          places,
                          sink[At(head)],
                          1 / std::sqrt(static_cast<float>(kHeadDim)),
                          round,
                          out);
        Rotate(out, rope, row, true);
      }
    }
    return expected;
  }

 private:
  static void Fill(Pool& pool, unsigned seed) {
    const auto x = RandomBf16(kSlots * kHeadDim, seed);
    const std::vector<std::uint16_t> gain(kHeadDim, simt::float_to_bf16(1));
    const auto rope = DrawRope(kSlots);
    std::vector<std::int32_t> slots(kSlots);
    std::iota(slots.begin(), slots.end(), 0);
    emulator::Emulation emulation;
    EmulateEntryWrite(
        {x.data(), gain.data(), rope.data(), 1e-6F, kSlots, pool.pages, slots.data()});
  }
};

TEST_P(Attention, IsTheFormulaOverTheStoredBytes) {
  Problem problem(GetParam());
  const Case& c = problem.c;
  emulator::Report report;
  const auto out =
      InFiveOrders<std::uint16_t>([&] { return problem.Run(0, problem.rows); }, &report);
  // Codes and rope of each entry of each row, once for 32 heads.
  std::uint64_t streamed = 0;
  for (const auto& [in_window, chosen] : c.counts) {
    streamed += At((c.heads + kHeadsPerBlock - 1) / kHeadsPerBlock * (in_window + chosen)) *
                (kPlainDim + kRopeDim * 2);
  }
  ExpectTraffic({"Attention"}, report, {streamed, 0, out.size() * 2});

  // Rounded weights depend on where a list is cut; so the kernel and the reference are about as far
  // from exact weights, each by its own rounding.
  const Comparison comparison({"Attention"}, "Attend, ApplyRope");
  comparison.AsNearAsTheReference(Widened(out), problem.Expected(true), problem.Expected(false));

  emulator::Emulation emulation;
  const auto alone = problem.Run(problem.rows - 1, 1);
  EXPECT_EQ(std::memcmp(alone.data(), out.data() + out.size() - alone.size(), alone.size() * 2), 0);

  problem.LeadEverySixteenPlaces();
  comparison.RelativeRms(Widened(problem.Run(0, problem.rows)), problem.Expected(true), 1e-3);
  EXPECT_TRUE(emulation.report().findings.empty()) << emulation.report().ToString();
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
