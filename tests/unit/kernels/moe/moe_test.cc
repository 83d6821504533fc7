#include "kernels/moe/moe.h"

#include <gtest/gtest.h>

#include <algorithm>
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

TEST(Grouping, ListsEachExpertsAssignmentsInOrder) {
  for (const int rows : {1, 7, 400}) {
    constexpr int kChoices = 3;
    constexpr int kFirst = 4;
    constexpr int kExperts = 9;  // of 16: the others live elsewhere
    std::mt19937 random(static_cast<unsigned>(rows));
    std::vector<std::int32_t> ids(At(rows * kChoices));
    std::generate(ids.begin(), ids.end(), [&] { return static_cast<std::int32_t>(random() % 16); });
    std::vector<std::int32_t> offsets(kExperts + 1);
    std::vector<std::int32_t> active(kExperts, -1);
    std::vector<std::int32_t> active_count = {-1};
    const auto order = InFiveOrders<std::int32_t>([&] {
      std::vector<std::int32_t> out(ids.size(), -1);
      EmulateGrouping({ids.data(),
                       rows,
                       kChoices,
                       kFirst,
                       kExperts,
                       offsets.data(),
                       out.data(),
                       active.data(),
                       active_count.data()});
      return out;
    });
    std::vector<std::int32_t> expected_order;
    std::vector<std::int32_t> expected_active;
    for (int expert = 0; expert < kExperts; ++expert) {
      EXPECT_EQ(offsets[At(expert)], static_cast<int>(expected_order.size()));
      for (std::size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] == kFirst + expert) {
          expected_order.push_back(static_cast<std::int32_t>(i));
        }
      }
      if (offsets[At(expert)] != static_cast<int>(expected_order.size())) {
        expected_active.push_back(expert);
      }
    }
    EXPECT_EQ(offsets[kExperts], static_cast<int>(expected_order.size()));
    EXPECT_EQ(active_count[0], static_cast<int>(expected_active.size()));
    EXPECT_TRUE(std::equal(expected_order.begin(), expected_order.end(), order.begin()));
    EXPECT_TRUE(std::equal(expected_active.begin(), expected_active.end(), active.begin()));
  }
}

struct Matrix {
  std::vector<double> values;  // [experts, n, k]
  std::vector<std::byte> prepared;
  std::vector<std::byte> scale;
};

Matrix DrawE2m1(int experts, int n, int k, unsigned seed) {
  std::mt19937 random(seed);
  Matrix matrix;
  for (int expert = 0; expert < experts; ++expert) {
    std::vector<std::uint8_t> stored(At(n * k / 2));
    std::vector<std::uint8_t> scales(At(n * k / 32));
    std::generate(
        stored.begin(), stored.end(), [&] { return static_cast<std::uint8_t>(random()); });
    std::generate(scales.begin(), scales.end(), [&] {
      return static_cast<std::uint8_t>(118 + random() % 4);
    });
    for (int i = 0; i < n * k; ++i) {
      const std::uint32_t pair = stored[At(i / 2)];
      matrix.values.push_back(
          static_cast<double>(simt::e2m1_to_float(i % 2 == 0 ? pair & 15U : pair >> 4)) *
          simt::ue8m0_to_float(scales[At(i / 32)]));
    }
    std::vector<std::byte> prepared(PreparedBytes(WeightFormat::kE2m1, n, k));
    std::vector<std::byte> prepared_scale(PreparedScaleBytes(WeightFormat::kE2m1, n, k));
    PrepareE2m1(stored, n, k, prepared);
    PrepareE2m1Scales(scales, n, k, prepared_scale);
    matrix.prepared.insert(matrix.prepared.end(), prepared.begin(), prepared.end());
    matrix.scale.insert(matrix.scale.end(), prepared_scale.begin(), prepared_scale.end());
  }
  return matrix;
}

Matrix DrawE4m3(int n, int k, unsigned seed) {
  std::mt19937 random(seed);
  Matrix matrix;
  std::vector<std::uint8_t> stored(At(n * k));
  // Exponents of about one: 64 to 128 times a quarter of a hundredth.
  std::generate(stored.begin(), stored.end(), [&] {
    return static_cast<std::uint8_t>((random() % 2) << 7 | (5 + random() % 4) << 3 | random() % 8);
  });
  matrix.scale.resize(PreparedScaleBytes(WeightFormat::kE4m3, n, k));
  for (std::byte& scale : matrix.scale) {
    scale = std::byte{static_cast<std::uint8_t>(120 + random() % 4)};
  }
  for (int i = 0; i < n * k; ++i) {
    const int block = i / k / 128 * (k / 128) + i % k / 128;
    matrix.values.push_back(
        static_cast<double>(simt::e4m3_to_float(stored[At(i)])) *
        simt::ue8m0_to_float(static_cast<std::uint32_t>(matrix.scale[At(block)])));
  }
  matrix.prepared.resize(PreparedBytes(WeightFormat::kE4m3, n, k));
  PrepareE4m3(stored, n, k, matrix.prepared);
  return matrix;
}

constexpr int kHidden = 256;
constexpr int kIntermediate = 256;
constexpr int kExperts = 5;
constexpr float kLimit = 2.5F;

struct Layer {
  WeightFormat format;
  int experts;
  int choices;
  Matrix w1, w3, w2;
};

Layer RoutedLayer() {
  return {WeightFormat::kE2m1,
          kExperts,
          2,
          DrawE2m1(kExperts, kIntermediate, kHidden, 1),
          DrawE2m1(kExperts, kIntermediate, kHidden, 2),
          DrawE2m1(kExperts, kHidden, kIntermediate, 3)};
}
Layer SharedLayer() {
  return {WeightFormat::kE4m3,
          1,
          1,
          DrawE4m3(kIntermediate, kHidden, 4),
          DrawE4m3(kIntermediate, kHidden, 5),
          DrawE4m3(kHidden, kIntermediate, 6)};
}

struct Batch {
  std::vector<std::uint8_t> x;
  std::vector<std::uint8_t> x_scale;
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
};

Batch DrawBatch(int rows, const Layer& layer) {
  std::mt19937 random(77);
  Batch batch;
  batch.x.resize(At(rows) * kHidden);
  batch.x_scale.resize(At(rows) * kHidden / 128);
  std::generate(batch.x.begin(), batch.x.end(), [&] {
    return static_cast<std::uint8_t>((random() % 2) << 7 | (4 + random() % 5) << 3 | random() % 8);
  });
  std::generate(batch.x_scale.begin(), batch.x_scale.end(), [&] {
    return static_cast<std::uint8_t>(122 + random() % 4);
  });
  batch.ids.resize(At(rows * layer.choices));
  // Expert 0 is popular, so that some stretch is longer than a tile; a row's choices differ.
  for (int row = 0; row < rows; ++row) {
    for (int choice = 0; choice < layer.choices; ++choice) {
      const auto shift = static_cast<std::int32_t>(random() % 2 == 0 ? 0 : random() % 2);
      batch.ids[At(row * layer.choices + choice)] = (shift + 3 * choice) % layer.experts;
    }
  }
  batch.weights = RandomFloats(At(rows * layer.choices), 78);
  return batch;
}

struct Result {
  std::vector<std::uint8_t> t;
  std::vector<std::uint8_t> t_scale;
  std::vector<float> y;
  std::vector<float> out;
};

Result RunLayer(const Layer& layer, const Batch& batch, int first_row, int rows) {
  const int assignments = rows * layer.choices;
  Result result{std::vector<std::uint8_t>(At(assignments) * kIntermediate),
                std::vector<std::uint8_t>(At(assignments) * kIntermediate / 128),
                std::vector<float>(At(assignments) * kHidden, NAN),
                std::vector<float>(At(rows) * kHidden)};
  std::vector<std::int32_t> offsets(At(layer.experts) + 1);
  std::vector<std::int32_t> order(At(assignments));
  std::vector<std::int32_t> active(At(layer.experts));
  std::vector<std::int32_t> active_count(1);
  const std::int32_t* ids = batch.ids.data() + first_row * layer.choices;
  EmulateGrouping({ids,
                   rows,
                   layer.choices,
                   0,
                   layer.experts,
                   offsets.data(),
                   order.data(),
                   active.data(),
                   active_count.data()});
  const Grouping grouping{
      offsets.data(), order.data(), active.data(), active_count.data(), layer.experts};
  EmulateGateUp({layer.format,
                 layer.w1.prepared.data(),
                 layer.w1.scale.data(),
                 layer.w3.prepared.data(),
                 layer.w3.scale.data(),
                 kHidden,
                 kIntermediate,
                 grouping,
                 batch.x.data() + first_row * kHidden,
                 batch.x_scale.data() + first_row * kHidden / 128,
                 batch.weights.data() + first_row * layer.choices,
                 kLimit,
                 rows,
                 layer.choices,
                 result.t.data(),
                 result.t_scale.data()});
  EmulateDown({layer.format,
               layer.w2.prepared.data(),
               layer.w2.scale.data(),
               kHidden,
               kIntermediate,
               grouping,
               result.t.data(),
               result.t_scale.data(),
               rows,
               layer.choices,
               result.y.data()});
  EmulateCombine({result.y.data(),
                  ids,
                  0,
                  layer.experts,
                  nullptr,
                  false,
                  rows,
                  layer.choices,
                  kHidden,
                  result.out.data()});
  return result;
}

double Product(
    const Matrix& matrix, int expert, int n, int k, int row, const std::vector<double>& x) {
  double sum = 0;
  for (int i = 0; i < k; ++i) {
    sum += matrix.values[At((expert * n + row) * k + i)] * x[At(i)];
  }
  return sum;
}
double RoundBf16(double x) {
  return Bf16Value(simt::float_to_bf16(static_cast<float>(x)));
}

struct Case {
  bool routed;
  int rows;
};

class Experts : public testing::TestWithParam<Case> {};

TEST_P(Experts, EqualTheFormulaAndDoNotSeeEachOther) {
  const auto [routed, rows] = GetParam();
  const Layer layer = routed ? RoutedLayer() : SharedLayer();
  const Batch batch = DrawBatch(rows, layer);
  Result result;
  emulator::Report report;
  InFiveOrders<float>(
      [&] {
        result = RunLayer(layer, batch, 0, rows);
        return result.out;
      },
      &report);
  // t before its quantisation, from the formula: compared through its stored bytes, which may lie
  // one code apart where a sum falls on a rounding boundary.
  int codes = 0;
  int apart = 0;
  for (int a = 0; a < rows * layer.choices; ++a) {
    const int expert = batch.ids[At(a)];
    std::vector<double> x;
    for (int i = 0; i < kHidden; ++i) {
      const int at = a / layer.choices * kHidden + i;
      x.push_back(static_cast<double>(simt::e4m3_to_float(batch.x[At(at)])) *
                  simt::ue8m0_to_float(batch.x_scale[At(at / 128)]));
    }
    for (int n = 0; n < kIntermediate; ++n) {
      double gate = RoundBf16(Product(layer.w1, expert, kIntermediate, kHidden, n, x));
      double up = RoundBf16(Product(layer.w3, expert, kIntermediate, kHidden, n, x));
      gate = std::min(gate, static_cast<double>(kLimit));
      up = std::clamp(up, -static_cast<double>(kLimit), static_cast<double>(kLimit));
      const double t = RoundBf16(gate / (1 + std::exp(-gate)) * up * batch.weights[At(a)]);
      const int at = a * kIntermediate + n;
      const auto scaled =
          static_cast<float>(t / simt::ue8m0_to_float(result.t_scale[At(at / 128)]));
      ++codes;
      apart += simt::float_to_e4m3(scaled) != result.t[At(at)] ? 1 : 0;
    }
  }
  std::printf("%d of %d codes differ, at most 0.5 %% may\n", apart, codes);
  EXPECT_LE(apart * 200, codes);

  std::vector<double> expected;
  for (int row = 0; row < rows; ++row) {
    for (int n = 0; n < kHidden; ++n) {
      double sum = 0;
      for (int choice = 0; choice < layer.choices; ++choice) {
        const int a = row * layer.choices + choice;
        std::vector<double> t;
        for (int i = 0; i < kIntermediate; ++i) {
          const int at = a * kIntermediate + i;
          t.push_back(static_cast<double>(simt::e4m3_to_float(result.t[At(at)])) *
                      simt::ue8m0_to_float(result.t_scale[At(at / 128)]));
        }
        sum += Product(layer.w2, batch.ids[At(a)], kHidden, kIntermediate, n, t);
      }
      expected.push_back(sum);
    }
  }
  ExpectRelativeRms(result.out, expected, kOnGpu ? 1e-3 : 1e-6);

  // Each touched expert's elements are streamed once.
  std::vector<std::int32_t> touched = batch.ids;
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  ExpectTraffic(report,
                {touched.size() * 3 * PreparedBytes(layer.format, kHidden, kIntermediate),
                 At(rows * layer.choices) * kIntermediate});

  emulator::Emulation emulation;
  const Result alone = RunLayer(layer, batch, rows - 1, 1);
  EXPECT_EQ(std::memcmp(alone.out.data(), result.out.data() + (rows - 1) * kHidden, kHidden * 4),
            0);
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         Experts,
                         testing::Values(Case{true, 1},
                                         Case{true, 6},
                                         Case{true, 16},
                                         Case{true, 20},
                                         Case{false, 3},
                                         Case{false, 12},
                                         Case{false, 19}));

TEST(Combine, AddsExpertsInAscendingOrderAndSkipsThoseOfOthers) {
  constexpr int kRows = 2;
  constexpr int kChoices = 4;
  constexpr int kWidth = 50;
  const std::vector<std::int32_t> ids = {6, 9, 4, 5, 0, 6, 5, 3};
  const auto y = RandomFloats(kRows * kChoices * kWidth, 91);
  const auto shared = RandomFloats(kRows * kWidth, 92);
  for (const bool round : {false, true}) {
    const auto out = InFiveOrders<float>([&] {
      std::vector<float> result(kRows * kWidth);
      EmulateCombine({y.data(),
                      ids.data(),
                      4,
                      3,
                      shared.data(),
                      round,
                      kRows,
                      kChoices,
                      kWidth,
                      result.data()});
      return result;
    });
    const auto term = [&](float value) { return round ? simt::round_to_bf16(value) : value; };
    const auto of = [&](int assignment, int i) { return term(y[At(assignment * kWidth + i)]); };
    for (int i = 0; i < kWidth; ++i) {
      EXPECT_EQ(out[At(i)], ((of(2, i) + of(3, i)) + of(0, i)) + term(shared[At(i)]));
      EXPECT_EQ(out[At(kWidth + i)], (of(6, i) + of(5, i)) + term(shared[At(kWidth + i)]));
    }
  }
}

}  // namespace
}  // namespace sparkspan::kernels
