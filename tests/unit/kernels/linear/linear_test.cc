#include "kernels/linear/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/reference/linear.h"
#include "kernels/simt/simt.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

struct Case {
  const char* name;
  WeightFormat weight;
  ActivationFormat activation;
  int n;
  int k;
  int rows;
  int groups;
};

// A random layer in its checkpoint form, its exact values, and the prepared form.
struct Layer {
  std::vector<std::byte> stored;
  std::vector<std::uint8_t> stored_scale;
  std::vector<float> activation;  // [rows, groups, k]
  std::vector<std::byte> prepared;
  std::vector<std::byte> prepared_scale;
  std::vector<std::uint8_t> activation_bytes;
  std::vector<std::uint16_t> activation_bf16;
  std::vector<std::uint8_t> activation_scale;

  // Rows [first, first + count) of the weight.
  StoredWeight StoredRows(const Case& c, int first, int count) const;
};

std::size_t Size(int a, int b = 1, int c = 1) {
  return static_cast<std::size_t>(a) * static_cast<std::size_t>(b) * static_cast<std::size_t>(c);
}

std::uint8_t DrawScale(std::mt19937& random) {
  return static_cast<std::uint8_t>(118 + random() % 12);
}
std::uint8_t DrawE4m3(std::mt19937& random) {
  const auto byte = static_cast<std::uint8_t>(random());
  return (byte & 0x7F) == 0x7F ? std::uint8_t{0x35} : byte;
}
std::uint16_t DrawBf16(std::mt19937& random) {
  std::normal_distribution<float> normal;
  return simt::float_to_bf16(normal(random));
}

StoredWeight Layer::StoredRows(const Case& c, int first, int count) const {
  StoredWeight rows;
  rows.format = c.weight == WeightFormat::kBf16   ? StoredFormat::kBf16
                : c.weight == WeightFormat::kE4m3 ? StoredFormat::kE4m3
                                                  : StoredFormat::kE2m1;
  rows.rows = count;
  rows.columns = c.k;
  rows.data = stored.data() + first * rows.row_bytes();
  const bool blocks = c.weight == WeightFormat::kE4m3;
  rows.scale_columns = c.k / (blocks ? kScaleBlock : kNibbleScaleGroup);
  rows.scales = stored_scale.data() + (blocks ? first / kScaleBlock : first) * rows.scale_columns;
  rows.row_offset = first % kScaleBlock;
  return rows;
}

template <class T>
std::span<const T> Elements(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}

void DrawWeight(const Case& c, std::mt19937& random, Layer& layer) {
  const auto bytes = [&](std::size_t count, const auto& draw) {
    layer.stored.resize(count);
    std::generate(layer.stored.begin(), layer.stored.end(), [&] { return std::byte{draw()}; });
  };
  const auto scales = [&](std::size_t count) {
    layer.stored_scale.resize(count);
    std::generate(
        layer.stored_scale.begin(), layer.stored_scale.end(), [&] { return DrawScale(random); });
  };
  layer.prepared.resize(PreparedBytes(c.weight, c.n, c.k));
  layer.prepared_scale.resize(PreparedScaleBytes(c.weight, c.n, c.k));
  switch (c.weight) {
    case WeightFormat::kBf16: {
      std::vector<std::uint16_t> halves(Size(c.n, c.k));
      std::generate(halves.begin(), halves.end(), [&] { return DrawBf16(random); });
      const auto stored = std::as_bytes(std::span(halves));
      layer.stored.assign(stored.begin(), stored.end());
      PrepareBf16(halves, c.n, c.k, layer.prepared);
      return;
    }
    case WeightFormat::kE4m3:
      bytes(Size(c.n, c.k), [&] { return DrawE4m3(random); });
      scales(layer.prepared_scale.size());
      std::transform(layer.stored_scale.begin(),
                     layer.stored_scale.end(),
                     layer.prepared_scale.begin(),
                     [](std::uint8_t scale) { return std::byte{scale}; });
      PrepareE4m3(Elements<std::uint8_t>(layer.stored), c.n, c.k, layer.prepared);
      return;
    case WeightFormat::kE2m1:
      bytes(Size(c.n, c.k / 2), [&] { return static_cast<std::uint8_t>(random()); });
      scales(Size(c.n, c.k / 32));
      PrepareE2m1(Elements<std::uint8_t>(layer.stored), c.n, c.k, layer.prepared);
      PrepareE2m1Scales(layer.stored_scale, c.n, c.k, layer.prepared_scale);
      return;
  }
}

Layer Draw(const Case& c) {
  std::mt19937 random(static_cast<unsigned>(c.n * 7 + c.k + c.rows));
  Layer layer;
  DrawWeight(c, random, layer);
  const std::size_t size = Size(c.rows, c.groups, c.k);
  layer.activation.resize(size);
  if (c.activation == ActivationFormat::kBf16) {
    layer.activation_bf16.resize(size);
    std::generate(layer.activation_bf16.begin(), layer.activation_bf16.end(), [&] {
      return DrawBf16(random);
    });
    std::transform(layer.activation_bf16.begin(),
                   layer.activation_bf16.end(),
                   layer.activation.begin(),
                   simt::bf16_to_float);
    return layer;
  }
  layer.activation_bytes.resize(size);
  layer.activation_scale.resize(size / 128);
  std::generate(layer.activation_bytes.begin(), layer.activation_bytes.end(), [&] {
    return DrawE4m3(random);
  });
  std::generate(layer.activation_scale.begin(), layer.activation_scale.end(), [&] {
    return DrawScale(random);
  });
  for (std::size_t i = 0; i < size; ++i) {
    layer.activation[i] = simt::e4m3_to_float(layer.activation_bytes[i]) *
                          simt::ue8m0_to_float(layer.activation_scale[i / 128]);
  }
  return layer;
}

LinearArguments ArgumentsOf(const Case& c, const Layer& layer, int first_row, int rows, void* out) {
  const std::size_t offset = Size(first_row, c.groups, c.k);
  const bool bytes = c.activation == ActivationFormat::kE4m3;
  return {.weight_format = c.weight,
          .activation_format = c.activation,
          .output_format = OutputFormat::kFloat,
          .weight = layer.prepared.data(),
          .weight_scale = layer.prepared_scale.data(),
          .n = c.n,
          .k = c.k,
          .activation = bytes ? static_cast<const void*>(layer.activation_bytes.data() + offset)
                              : static_cast<const void*>(layer.activation_bf16.data() + offset),
          .activation_scale = bytes ? layer.activation_scale.data() + offset / 128 : nullptr,
          .groups = c.groups,
          .output = out,
          .rows = rows};
}

class Linear : public testing::TestWithParam<Case> {};

TEST_P(Linear, EqualsTheExactProductAndReadsTheWeightsOnce) {
  const Case& c = GetParam();
  const Layer layer = Draw(c);
  emulator::Report report;
  const auto output = InFiveOrders<float>(
      [&] {
        std::vector<float> out(Size(c.rows, c.n), -1e9F);
        EmulateLinear(ArgumentsOf(c, layer, 0, c.rows, out.data()));
        return out;
      },
      &report);

  std::vector<float> expected(output.size());
  for (int row = 0; row < c.rows; ++row) {
    for (int group = 0; group < c.groups; ++group) {
      const int n = c.n / c.groups;
      reference::Linear(layer.StoredRows(c, group * n, n),
                        RowOf(layer.activation, row * c.groups + group, c.k),
                        RowOf(expected, row, c.n).subspan(Size(group * n), Size(n)));
    }
  }
  Comparison({"Linear"}, "Linear").RelativeRms(output, expected);

  // Rounded sums are these.
  std::vector<std::uint16_t> halves(output.size()), rounded(output.size());
  std::transform(output.begin(), output.end(), rounded.begin(), simt::float_to_bf16);
  LinearArguments to_bf16 = ArgumentsOf(c, layer, 0, c.rows, halves.data());
  to_bf16.output_format = OutputFormat::kBf16;
  {
    emulator::Emulation emulation;
    EmulateLinear(to_bf16);
  }
  EXPECT_EQ(halves, rounded);
  const auto passes = static_cast<std::uint64_t>((c.rows + 95) / 96);
  ExpectTraffic({"Linear"}, report, WeightOf(ArgumentsOf(c, layer, 0, c.rows, nullptr), passes));
}

TEST_P(Linear, ARowsBitsDoNotDependOnTheOthers) {
  const Case& c = GetParam();
  const Layer layer = Draw(c);
  emulator::Emulation emulation;
  std::vector<float> together(Size(c.rows, c.n));
  EmulateLinear(ArgumentsOf(c, layer, 0, c.rows, together.data()));
  for (const int row : {0, c.rows / 2, c.rows - 1}) {
    std::vector<float> alone(Size(c.n));
    EmulateLinear(ArgumentsOf(c, layer, row, 1, alone.data()));
    EXPECT_EQ(std::memcmp(alone.data(), together.data() + Size(row, c.n), Size(c.n) * 4), 0) << row;
  }
}

TEST(Linears, PartsOfOneLaunchAreWhatEachIsAlone) {
  const std::vector<Case> cases = {
      {"a", WeightFormat::kE4m3, ActivationFormat::kE4m3, 40, 128, 5, 1},
      {"b", WeightFormat::kE4m3, ActivationFormat::kE4m3, 16, 384, 5, 1},
      {"c", WeightFormat::kE4m3, ActivationFormat::kE4m3, 24, 256, 5, 1}};
  for (std::size_t parts = 1; parts <= cases.size(); ++parts) {
    std::vector<Layer> layers;
    for (std::size_t i = 0; i < parts; ++i) {
      layers.push_back(Draw(cases[i]));
    }
    std::vector<float> alone;
    emulator::Emulation emulation;
    for (std::size_t i = 0; i < parts; ++i) {
      std::vector<float> out(Size(cases[i].rows, cases[i].n));
      EmulateLinear(ArgumentsOf(cases[i], layers[i], 0, cases[i].rows, out.data()));
      alone.insert(alone.end(), out.begin(), out.end());
    }
    emulator::Report report;
    const auto together = InFiveOrders<float>(
        [&] {
          std::vector<float> out(alone.size());
          LinearBatch batch{};
          std::size_t at = 0;
          for (std::size_t i = 0; i < parts; ++i) {
            batch.part[i] = ArgumentsOf(cases[i], layers[i], 0, cases[i].rows, out.data() + at);
            at += Size(cases[i].rows, cases[i].n);
          }
          batch.parts = static_cast<int>(parts);
          EmulateLinears(batch);
          return out;
        },
        &report);
    Required required;
    for (std::size_t i = 0; i < parts; ++i) {
      required += WeightOf(ArgumentsOf(cases[i], layers[i], 0, cases[i].rows, nullptr));
    }
    ExpectTraffic({"Linears"}, report, required);
    Comparison({"Linears"}, "Linear, alone").Equal(together, alone);
  }
}

// A bf16 weight kept as e4m3 is the weight to half a unit of e4m3's last place.
TEST(PreparedWeights, CopiesInE4m3AreNear) {
  constexpr int kN = 150;
  constexpr int kK = 256;
  std::mt19937 random(5);
  std::vector<std::uint16_t> stored(Size(kN, kK));
  std::generate(stored.begin(), stored.end(), [&] { return DrawBf16(random); });
  std::vector<std::byte> prepared(PreparedBytes(WeightFormat::kE4m3, kN, kK));
  std::vector<std::uint8_t> scales(PreparedScaleBytes(WeightFormat::kE4m3, kN, kK));
  PrepareBf16AsE4m3(stored, kN, kK, prepared, scales);
  for (int row = 0; row < kN; ++row) {
    for (int column = 0; column < kK; ++column) {
      const float scale = simt::ue8m0_to_float(scales[Size(row / 128 * 2 + column / 128)]);
      const std::size_t tile = Size(row / 16 * (kK / 32) + column / 32) * 512;
      const auto code =
          static_cast<std::uint8_t>(prepared[tile + Size(TileByteE4m3(row % 16, column % 32))]);
      const float expected = simt::bf16_to_float(stored[Size(row * kK + column)]);
      const float allowed = std::max(std::fabs(expected) / 16, scale * 0x1p-10F);
      ASSERT_LE(std::fabs(simt::e4m3_to_float(code) * scale - expected), allowed)
          << row << ", " << column;
    }
  }
}

constexpr auto kE4m3 = WeightFormat::kE4m3;
constexpr auto kE2m1 = WeightFormat::kE2m1;
constexpr auto kBf16 = WeightFormat::kBf16;
constexpr auto kBytes = ActivationFormat::kE4m3;
constexpr auto kHalves = ActivationFormat::kBf16;

INSTANTIATE_TEST_SUITE_P(
    Shapes,
    Linear,
    testing::Values(Case{"e4m3_one_row", kE4m3, kBytes, 40, 256, 1, 1},
                    Case{"e4m3_verify", kE4m3, kBytes, 144, 384, 6, 1},
                    Case{"e4m3_two_tiles", kE4m3, kBytes, 16, 1280, 9, 1},
                    Case{"e4m3_six_tiles", kE4m3, kBytes, 24, 128, 41, 1},
                    Case{"e4m3_twelve_tiles", kE4m3, kBytes, 16, 256, 96, 1},
                    Case{"e4m3_two_passes", kE4m3, kBytes, 16, 128, 99, 1},
                    Case{"e2m1_one_row", kE2m1, kBytes, 40, 256, 1, 1},
                    Case{"e2m1_verify", kE2m1, kBytes, 32, 384, 6, 1},
                    Case{"e2m1_two_tiles", kE2m1, kBytes, 16, 1152, 16, 1},
                    Case{"e2m1_six_tiles", kE2m1, kBytes, 24, 128, 36, 1},
                    Case{"e2m1_twelve_tiles", kE2m1, kBytes, 16, 128, 90, 1},
                    Case{"bf16_one_row", kBf16, kHalves, 24, 256, 1, 1},
                    Case{"bf16_verify", kBf16, kHalves, 40, 1152, 6, 1},
                    Case{"bf16_two_tiles", kBf16, kHalves, 16, 128, 12, 1},
                    Case{"bf16_six_tiles", kBf16, kHalves, 8, 128, 36, 1},
                    Case{"bf16_twelve_tiles", kBf16, kHalves, 16, 128, 96, 1},
                    Case{"grouped_one_row", kE4m3, kHalves, 64, 256, 1, 2},
                    Case{"grouped_verify", kE4m3, kHalves, 64, 256, 6, 4},
                    Case{"grouped_two_tiles", kE4m3, kHalves, 32, 128, 16, 2},
                    Case{"grouped_six_tiles", kE4m3, kHalves, 32, 128, 20, 2},
                    Case{"grouped_twelve_tiles", kE4m3, kHalves, 32, 128, 49, 2}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace sparkspan::kernels
