#include "kernels/indexer/index_score.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/indexer/select.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"
#include "tests/unit/kernels/simt/traffic.h"

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

double Round(double x) {
  return Bf16Value(simt::float_to_bf16(static_cast<float>(x)));
}

double Decode(const std::uint8_t* codes, const std::uint8_t* scales, int i) {
  return static_cast<double>(simt::e2m1_to_float(codes[i / 2] >> (i % 2 * 4) & 15U)) *
         simt::ue8m0_to_float(scales[i / kIndexGroup]);
}

TEST(IndexQuery, IsRotatedSpreadAndQuantised) {
  constexpr int kRows = 2;
  constexpr int kHeads = 5;
  constexpr int kVectors = kRows * kHeads;
  const auto q = RandomBf16(kVectors * kIndexDim, 71, 3);
  const auto rope = Angles(kRows);
  std::vector<std::uint8_t> scales(kVectors * kIndexScaleBytes);
  const auto codes = InFiveOrders<std::uint8_t>([&] {
    std::vector<std::uint8_t> out(kVectors * kIndexCodeBytes);
    EmulateIndexQuery({q.data(), rope.data(), kRows, kHeads, out.data(), scales.data()});
    return out;
  });
  int apart = 0;
  for (int v = 0; v < kVectors; ++v) {
    std::vector<double> x(kIndexDim);
    for (int i = 0; i < kIndexDim; ++i) {
      x[At(i)] = Bf16Value(q[At(v * kIndexDim + i)]);
    }
    for (int i = 0; i < 32; ++i) {
      const double c = rope[At(v / kHeads * 64 + i)];
      const double s = rope[At(v / kHeads * 64 + 32 + i)];
      const double low = x[At(64 + 2 * i)];
      const double high = x[At(65 + 2 * i)];
      x[At(64 + 2 * i)] = Round(low * c - high * s);
      x[At(65 + 2 * i)] = Round(low * s + high * c);
    }
    // The matrix itself: entry (i, j) is minus one to the number of common bits.
    std::vector<double> y(kIndexDim);
    for (int i = 0; i < kIndexDim; ++i) {
      for (int j = 0; j < kIndexDim; ++j) {
        y[At(i)] += x[At(j)] * (std::popcount(static_cast<unsigned>(i & j)) % 2 == 0 ? 1 : -1);
      }
      y[At(i)] = Round(y[At(i)] / std::sqrt(128.0));
    }
    for (int group = 0; group < kIndexDim; group += kIndexGroup) {
      double amax = 0;
      for (int i = group; i < group + kIndexGroup; ++i) {
        amax = std::max(amax, std::fabs(y[At(i)]));
      }
      const int byte = ScaleByte(amax, 6);
      EXPECT_EQ(scales[At(v * kIndexScaleBytes + group / kIndexGroup)], byte);
      for (int i = group; i < group + kIndexGroup; ++i) {
        const unsigned code = codes[At(v * kIndexCodeBytes + i / 2)] >> (i % 2 * 4) & 15U;
        const auto scaled = static_cast<float>(std::ldexp(y[At(i)], 127 - byte));
        apart += code != simt::float_to_e2m1(scaled) ? 1 : 0;
      }
    }
  }
  // fp32 butterflies and the exact matrix may round a value to different bf16 neighbours.
  std::printf("%d of %d codes differ, at most 5 may\n", apart, kVectors * kIndexDim);
  EXPECT_LE(apart, 5);
}

constexpr float kWeightScale = 0.03125F;

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
                               kWeightScale,
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
  ExpectTraffic(report, {streamed, 0});

  std::vector<float> actual;
  std::vector<double> expected;
  for (int row = 0; row < rows; ++row) {
    for (int j = 0; j < row_stride; ++j) {
      const float score = scores[At(row * row_stride + j)];
      if (j >= c.visible[At(row)]) {
        EXPECT_EQ(score, -7) << "written though not visible: row " << row << " key " << j;
        continue;
      }
      const std::int64_t page = table[At(row * pages + j / c.keys_per_page)];
      const std::uint8_t* key = pool.data() + page * stride + j % c.keys_per_page * kIndexKeyBytes;
      double sum = 0;
      for (int head = 0; head < c.heads; ++head) {
        const int at = row * c.heads + head;
        double dot = 0;
        for (int i = 0; i < kIndexDim; ++i) {
          dot +=
              Decode(
                  codes.data() + at * kIndexCodeBytes, scales.data() + at * kIndexScaleBytes, i) *
              Decode(key, key + kIndexCodeBytes, i);
        }
        const double weight = Round(Round(weights[At(at)]) * kWeightScale);
        sum += Round(weight * std::max(Round(dot), 0.0));
      }
      expected.push_back(sum);
      actual.push_back(score);
    }
  }
  // The last rounding to bf16: 2^-9 at worst.
  ExpectRelativeRms(actual, expected, 0x1p-9);

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
  const auto fused = InFiveOrders<std::int32_t>([&] {
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
  });
  EXPECT_EQ(fused, separate);
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
