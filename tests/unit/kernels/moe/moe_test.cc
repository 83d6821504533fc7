#include "kernels/moe/moe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <type_traits>
#include <vector>

#include "kernels/numerics/formats.h"
#include "kernels/reference/linear.h"
#include "kernels/reference/moe.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

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
    std::vector<std::int32_t> expected_offsets, expected_order, expected_active;
    for (int expert = 0; expert < kExperts; ++expert) {
      expected_offsets.push_back(static_cast<int>(expected_order.size()));
      for (std::size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] == kFirst + expert) {
          expected_order.push_back(static_cast<std::int32_t>(i));
        }
      }
      if (expected_offsets.back() != static_cast<int>(expected_order.size())) {
        expected_active.push_back(expert);
      }
    }
    expected_offsets.push_back(static_cast<int>(expected_order.size()));
    const Comparison comparison({"Grouping"}, "a search");
    comparison.Equal(offsets, expected_offsets);
    comparison.Equal(active_count, {static_cast<std::int32_t>(expected_active.size())});
    active.resize(expected_active.size());
    comparison.Equal(active, expected_active);
    const auto end = order.begin() + static_cast<std::ptrdiff_t>(expected_order.size());
    comparison.Equal({order.begin(), end}, expected_order);
  }
}

// Experts' weights [experts, n, k], stored and prepared.
struct Matrix {
  StoredFormat format;
  int n;
  int k;
  std::vector<std::byte> stored;
  std::vector<std::uint8_t> stored_scale;
  std::vector<std::byte> prepared;
  std::vector<std::byte> scale;

  StoredWeight Of(int expert) const {
    StoredWeight weight;
    weight.format = format;
    weight.rows = n;
    weight.columns = k;
    weight.data = stored.data() + expert * n * weight.row_bytes();
    const bool blocks = format == StoredFormat::kE4m3;
    weight.scale_columns = k / (blocks ? kScaleBlock : kNibbleScaleGroup);
    weight.scales = stored_scale.data() + (blocks ? 0 : expert * n * weight.scale_columns);
    return weight;
  }
};

Matrix DrawE2m1(int experts, int n, int k, unsigned seed) {
  std::mt19937 random(seed);
  Matrix matrix{StoredFormat::kE2m1, n, k, {}, {}, {}, {}};
  for (int expert = 0; expert < experts; ++expert) {
    std::vector<std::uint8_t> stored(At(n * k / 2));
    std::vector<std::uint8_t> scales(At(n * k / 32));
    std::generate(
        stored.begin(), stored.end(), [&] { return static_cast<std::uint8_t>(random()); });
    std::generate(scales.begin(), scales.end(), [&] {
      return static_cast<std::uint8_t>(118 + random() % 4);
    });
    const auto bytes = std::as_bytes(std::span(stored));
    matrix.stored.insert(matrix.stored.end(), bytes.begin(), bytes.end());
    matrix.stored_scale.insert(matrix.stored_scale.end(), scales.begin(), scales.end());
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
  Matrix matrix{StoredFormat::kE4m3, n, k, {}, {}, {}, {}};
  std::vector<std::uint8_t> stored(At(n * k));
  // Exponents of about one: 64 to 128 times a quarter of a hundredth.
  std::generate(stored.begin(), stored.end(), [&] {
    return static_cast<std::uint8_t>((random() % 2) << 7 | (5 + random() % 4) << 3 | random() % 8);
  });
  const auto bytes = std::as_bytes(std::span(stored));
  matrix.stored.assign(bytes.begin(), bytes.end());
  for (std::size_t i = 0; i < PreparedScaleBytes(WeightFormat::kE4m3, n, k); ++i) {
    matrix.stored_scale.push_back(static_cast<std::uint8_t>(120 + random() % 4));
    matrix.scale.push_back(std::byte{matrix.stored_scale.back()});
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
  const int assignments = rows * layer.choices;
  const std::vector<float> x = Decoded(batch.x, batch.x_scale);
  const std::vector<float> t = Decoded(result.t, result.t_scale);
  std::vector<float> activations, y;
  for (int a = 0; a < assignments; ++a) {
    const int expert = batch.ids[At(a)];
    std::vector<float> gate(kIntermediate), up(kIntermediate), down(kHidden);
    reference::Linear(layer.w1.Of(expert), RowOf(x, a / layer.choices, kHidden), gate);
    reference::Linear(layer.w3.Of(expert), RowOf(x, a / layer.choices, kHidden), up);
    std::transform(gate.begin(), gate.end(), gate.begin(), numerics::RoundToBf16);
    std::transform(up.begin(), up.end(), up.begin(), numerics::RoundToBf16);
    reference::SwiGlu(gate, up, kLimit, batch.weights[At(a)], true);
    activations.insert(activations.end(), gate.begin(), gate.end());
    reference::Linear(layer.w2.Of(expert), RowOf(t, a, kIntermediate), down);
    y.insert(y.end(), down.begin(), down.end());
  }
  Comparison({"GateUp"}, "Linear, SwiGlu, QuantiseE4m3")
      .E4m3(result.t, result.t_scale, activations, 128);
  Comparison({"Down"}, "Linear").RelativeRms(result.y, y);

  // Each touched expert's elements are streamed once.
  std::vector<std::int32_t> touched = batch.ids;
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  ExpectTraffic({"Grouping", "GateUp", "Down", "Combine"},
                report,
                {touched.size() * 3 * PreparedBytes(layer.format, kHidden, kIntermediate),
                 touched.size() * 3 * PreparedScaleBytes(layer.format, kHidden, kIntermediate),
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

// More rows on one expert than a pass takes (96): the passes share the block's scratch, and each
// row is what it is among few.
TEST(ExpertsPasses, OfMorePassesThanOneAreTheSame) {
  for (const bool routed : {true, false}) {
    const Layer layer = routed ? RoutedLayer() : SharedLayer();
    constexpr int kRows = 206;
    Batch batch = DrawBatch(kRows, layer);
    for (int row = 0; routed && row < kRows; ++row) {
      batch.ids[At(2 * row)] = 3;
      batch.ids[At(2 * row + 1)] = row % 2 == 0 ? 1 : 4;
    }
    emulator::Emulation emulation({7, DeletedSite()});
    const Result all = RunLayer(layer, batch, 0, kRows);
    constexpr int kFew = 20;  // by the same instances, in one pass
    for (const int first : {0, 90, kRows - kFew}) {
      const Result few = RunLayer(layer, batch, first, kFew);
      const auto same = [&](const auto& whole, const auto& part, std::size_t width) {
        const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(At(first) * width);
        using Whole = std::decay_t<decltype(whole)>;
        EXPECT_EQ(Whole(begin, begin + static_cast<std::ptrdiff_t>(part.size())), part) << first;
      };
      same(all.t, few.t, At(layer.choices) * kIntermediate);
      same(all.t_scale, few.t_scale, At(layer.choices) * kIntermediate / 128);
      same(all.y, few.y, At(layer.choices) * kHidden);
      same(all.out, few.out, kHidden);
    }
    EXPECT_TRUE(emulation.report().findings.empty()) << emulation.report().ToString();
  }
}

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
    std::vector<float> expected(out.size());
    for (int i = 0; i < kWidth; ++i) {
      expected[At(i)] = ((of(2, i) + of(3, i)) + of(0, i)) + term(shared[At(i)]);
      expected[At(kWidth + i)] = (of(6, i) + of(5, i)) + term(shared[At(kWidth + i)]);
    }
    Comparison({"Combine"}, "the sum in order").Equal(out, expected);
  }
}

}  // namespace
}  // namespace sparkspan::kernels
