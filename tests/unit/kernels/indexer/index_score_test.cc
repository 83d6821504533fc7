#include "kernels/indexer/index_score.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/indexer/select.h"
#include "kernels/reference/indexer.h"
#include "kernels/reference/norm.h"
#include "kernels/reference/quantise.h"
#include "kernels/reference/rope.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

std::vector<float> Angles(int rows) {
  std::vector<float> rope(At(rows) * 64);
  for (int row = 0; row < rows; ++row) {
    for (int i = 0; i < 32; ++i) {
      const double angle = (row * 5 + 2) / std::pow(10000.0, i / 32.0);
      rope[At(row * 64 + i)] = static_cast<float>(std::cos(angle));
      rope[At(row * 64 + 32 + i)] = static_cast<float>(std::sin(angle));
    }
  }
  return rope;
}

// The vector behind codes of e2m1, two a byte.
std::vector<float> Decode(const std::uint8_t* codes, const std::uint8_t* scales) {
  std::vector<std::byte> key(kIndexKeyBytes);
  std::memcpy(key.data(), codes, kIndexCodeBytes);
  std::memcpy(key.data() + kIndexCodeBytes, scales, kIndexScaleBytes);
  std::vector<float> x(kIndexDim);
  reference::DecodeKey(numerics::kQuantised, key.data(), x);
  return x;
}

TEST(IndexQuery, IsRotatedSpreadAndQuantised) {
  constexpr int kRows = 2;
  constexpr int kHeads = 5;
  constexpr int kVectors = kRows * kHeads;
  const auto q = RandomBf16(kVectors * kIndexDim, 71, 3);
  const auto rope = Angles(kRows);
  std::vector<std::uint8_t> scales(kVectors * kIndexScaleBytes);
  emulator::Report report;
  const auto codes = InFiveOrders<std::uint8_t>(
      [&] {
        std::vector<std::uint8_t> out(kVectors * kIndexCodeBytes);
        EmulateIndexQuery({q.data(), rope.data(), kRows, kHeads, out.data(), scales.data()});
        return out;
      },
      &report);
  ExpectTraffic({"IndexQuery"}, report, {});
  std::vector<std::uint8_t> stored;
  std::vector<float> expected = Widened(q);
  for (int v = 0; v < kVectors; ++v) {
    const auto x = RowOf(expected, v, kIndexDim);
    const auto angles = RowOf(rope, v / kHeads, 64);
    reference::ApplyRope(x.last(64), angles.first(32), angles.last(32), false, true);
    reference::Hadamard(x, true);
    const auto own_codes = RowOf(codes, v, kIndexCodeBytes);
    const auto own_scales = RowOf(scales, v, kIndexScaleBytes);
    stored.insert(stored.end(), own_codes.begin(), own_codes.end());
    stored.insert(stored.end(), own_scales.begin(), own_scales.end());
  }
  Comparison({"IndexQuery"}, "ApplyRope, Hadamard, QuantiseE2m1").Keys(stored, expected);
}

// Scores are rounded where the reference rounds; a sum that falls on the other side of a rounding
// costs 2^-9 of a term.
constexpr double kScoreLimit = 1e-3;

struct Case {
  int heads;
  int keys_per_page;
  std::vector<std::int32_t> visible;
};

class IndexScore : public testing::TestWithParam<Case> {};

TEST_P(IndexScore, IsTheWeightedSumOfReluOverHeads) {
  const Case& c = GetParam();
  const int rows = static_cast<int>(c.visible.size());
  const int keys = *std::max_element(c.visible.begin(), c.visible.end());
  const int pages = (keys + c.keys_per_page - 1) / c.keys_per_page;
  const std::int64_t stride = c.keys_per_page * kIndexKeyBytes + 12;
  // Every page of the table, in an order of its own; bytes beyond the visible keys are noise too.
  std::vector<std::uint8_t> pool(At(pages + 1) * static_cast<std::size_t>(stride));
  std::mt19937 random(81);
  std::generate(pool.begin(), pool.end(), [&] { return static_cast<std::uint8_t>(random()); });
  for (std::size_t page = 0; page < At(pages + 1); ++page) {
    for (int key = 0; key < c.keys_per_page; ++key) {
      for (int i = 0; i < kIndexScaleBytes; ++i) {
        pool[page * static_cast<std::size_t>(stride) + At(key * kIndexKeyBytes + 64 + i)] =
            static_cast<std::uint8_t>(122 + random() % 6);
      }
    }
  }
  std::vector<std::int32_t> table(At(rows * pages));
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = pages - static_cast<std::int32_t>(i % At(pages));
  }
  std::vector<std::uint8_t> codes(At(rows * c.heads) * kIndexCodeBytes);
  std::vector<std::uint8_t> scales(At(rows * c.heads) * kIndexScaleBytes);
  std::generate(codes.begin(), codes.end(), [&] { return static_cast<std::uint8_t>(random()); });
  std::generate(
      scales.begin(), scales.end(), [&] { return static_cast<std::uint8_t>(124 + random() % 4); });
  const auto weights = RandomFloats(At(rows * c.heads), 82);
  const int row_stride = keys + 3;
  const auto arguments = [&](int first, int count, float* out) {
    return IndexScoreArguments{codes.data() + At(first * c.heads) * kIndexCodeBytes,
                               scales.data() + At(first * c.heads) * kIndexScaleBytes,
                               weights.data() + first * c.heads,
                               1 / std::sqrt(static_cast<float>(kIndexDim * c.heads)),
                               count,
                               c.heads,
                               {pool.data(), stride, c.keys_per_page},
                               table.data() + first * pages,
                               pages,
                               c.visible.data() + first,
                               out,
                               row_stride};
  };
  const auto run = [&](int first, int count) {
    std::vector<float> out(At(count * row_stride), -7);
    EmulateIndexScore(arguments(first, count, out.data()));
    return out;
  };
  emulator::Report report;
  const auto scores = InFiveOrders<float>([&] { return run(0, rows); }, &report);

  // The codes of whole tiles of eight keys, for each row.
  std::uint64_t streamed = 0;
  for (const int visible : c.visible) {
    streamed += At((visible + 7) / 8) * 8 * kIndexCodeBytes;
  }
  ExpectTraffic({"IndexScore"}, report, {streamed, 0, 0});

  std::vector<float> actual, expected;
  for (int row = 0; row < rows; ++row) {
    std::vector<float> queries;
    for (int head = row * c.heads; head < (row + 1) * c.heads; ++head) {
      const auto query =
          Decode(codes.data() + head * kIndexCodeBytes, scales.data() + head * kIndexScaleBytes);
      queries.insert(queries.end(), query.begin(), query.end());
    }
    std::vector<float> head_weights(weights.begin() + row * c.heads,
                                    weights.begin() + (row + 1) * c.heads);
    reference::ScaleIndexWeights(head_weights, kIndexDim, true);
    for (int j = 0; j < row_stride; ++j) {
      const float score = scores[At(row * row_stride + j)];
      if (j >= c.visible[At(row)]) {
        EXPECT_EQ(score, -7) << "written though not visible: row " << row << " key " << j;
        continue;
      }
      const std::int64_t page = table[At(row * pages + j / c.keys_per_page)];
      const std::uint8_t* key = pool.data() + page * stride + j % c.keys_per_page * kIndexKeyBytes;
      expected.push_back(
          reference::IndexScore(queries, head_weights, Decode(key, key + kIndexCodeBytes), true));
      actual.push_back(score);
    }
  }
  Comparison({"IndexScore"}, "ScaleIndexWeights, IndexScore")
      .RelativeRms(actual, expected, kScoreLimit);

  emulator::Emulation emulation;
  const auto alone = run(rows - 1, 1);
  EXPECT_EQ(
      std::memcmp(alone.data(), scores.data() + (rows - 1) * row_stride, At(c.visible.back()) * 4),
      0);

  // Scoring and selecting in one launch chooses what one after the other does.
  constexpr int kChosen = 16;
  std::vector<std::int32_t> separate(At(rows) * kChosen, 77);
  EmulateTopK({scores.data(), row_stride, c.visible.data(), separate.data(), rows, kChosen});
  constexpr int kPartKeys = 512;  // cuts the longest row in two
  const int parts = (row_stride + kPartKeys - 1) / kPartKeys;
  std::vector<std::int32_t> block_arrivals(At(rows * parts), 0);
  std::vector<std::int32_t> part_arrivals(At(rows), 0);
  const auto fused = InFiveOrders<std::int32_t>(
      [&] {
        std::vector<float> out(At(rows * row_stride));
        std::vector<std::int32_t> chosen(At(rows) * kChosen, 77);
        std::vector<std::int32_t> candidates(At(rows * parts * kChosen));
        std::vector<float> candidate_scores(candidates.size());
        EmulateSelect({arguments(0, rows, out.data()),
                       {out.data(),
                        row_stride,
                        c.visible.data(),
                        chosen.data(),
                        rows,
                        kChosen,
                        kPartKeys,
                        candidates.data(),
                        candidate_scores.data(),
                        part_arrivals.data()},
                       block_arrivals.data()});
        return chosen;
      },
      &report);
  // The keys of rows that have more than they may choose.
  streamed = 0;
  for (const int visible : c.visible) {
    streamed += visible > kChosen ? At((visible + 7) / 8) * 8 * kIndexCodeBytes : 0;
  }
  ExpectTraffic({"Select"}, report, {streamed, 0, {}});
  Comparison({"Select"}, "IndexScore, TopK").Equal(fused, separate);
  EXPECT_EQ(block_arrivals, std::vector<std::int32_t>(At(rows * parts), 0));
  EXPECT_EQ(part_arrivals, std::vector<std::int32_t>(At(rows), 0));
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         IndexScore,
                         testing::Values(Case{64, 64, {1}},
                                         Case{64, 64, {70, 9}},
                                         Case{4, 8, {23, 24}},
                                         Case{33, 64, {530}}));

}  // namespace
}  // namespace sparkspan::kernels
