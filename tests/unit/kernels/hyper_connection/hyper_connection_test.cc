#include "kernels/hyper_connection/hyper_connection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "kernels/numerics/formats.h"
#include "kernels/reference/hyper_connection.h"
#include "kernels/reference/linear.h"
#include "kernels/reference/norm.h"
#include "kernels/reference/quantise.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

constexpr int kHidden = 384;
constexpr int kColumns = kStreams * kHidden;
constexpr int kIterations = 20;
constexpr float kEpsilon = 1e-6F;

struct Site {
  std::vector<std::uint16_t> streams;
  std::vector<float> fn;
  std::vector<float> base;
  std::vector<float> scale;
  std::vector<std::uint16_t> gain;
};

Site DrawSite(int rows, int mixes) {
  return {RandomBf16(At(rows) * kColumns, 21),
          RandomFloats(At(mixes) * kColumns, 22, 0.05F),
          RandomFloats(At(mixes), 23),
          {0.7F, 1.3F, 0.9F},
          RandomBf16(kHidden, 24)};
}

// A row's projections on fn, in the reference's arithmetic.
std::vector<float> Projections(const Site& site, int row, int mixes) {
  StoredWeight fn;
  fn.format = StoredFormat::kF32;
  fn.rows = mixes;
  fn.columns = kColumns;
  fn.data = reinterpret_cast<const std::byte*>(site.fn.data());
  std::vector<float> projections(At(mixes));
  reference::Linear(fn, Widened(RowOf(site.streams, row, kColumns)), projections);
  return projections;
}
float SumOfSquares(const Site& site, int row) {
  double squares = 0;
  for (const std::uint16_t value : RowOf(site.streams, row, kColumns)) {
    squares += Bf16Value(value) * Bf16Value(value);
  }
  return static_cast<float>(squares);
}

// What Pre makes of some rows.
struct Expected {
  std::vector<float> normalized;
  std::vector<float> post;
  std::vector<float> comb;
};

Expected Reference(const Site& site, int rows, int mixes) {
  Expected e{std::vector<float>(At(rows * kHidden)),
             std::vector<float>(At(rows * kStreams)),
             std::vector<float>(At(rows * kStreams * kStreams))};
  for (int row = 0; row < rows; ++row) {
    std::vector<float> m = Projections(site, row, mixes);
    const double root =
        std::sqrt(static_cast<double>(SumOfSquares(site, row)) / kColumns + kEpsilon);
    std::transform(m.begin(), m.end(), m.begin(), [&](float value) {
      return static_cast<float>(value / root);
    });
    std::vector<float> pre(kStreams);
    if (mixes == kHeadMixes) {
      reference::HeadMixes(m, site.base, site.scale[0], kEpsilon, pre);
    } else {
      reference::SplitMixes(m,
                            site.base,
                            site.scale,
                            kStreams,
                            kIterations,
                            kEpsilon,
                            pre,
                            RowOf(e.post, row, kStreams),
                            RowOf(e.comb, row, kStreams * kStreams));
    }
    const auto normalized = RowOf(e.normalized, row, kHidden);
    reference::MixStreams(Widened(RowOf(site.streams, row, kColumns)), pre, true, normalized);
    reference::RmsNorm(normalized, Widened(site.gain), kEpsilon, true, normalized);
  }
  return e;
}

struct Output {
  std::vector<std::uint16_t> normalized;
  std::vector<std::uint8_t> quantized;
  std::vector<std::uint8_t> scale;
  std::vector<float> post;
  std::vector<float> comb;
};

Output RunPre(const Site& site, int first_row, int rows, int mixes) {
  Output out{std::vector<std::uint16_t>(At(rows) * kHidden),
             std::vector<std::uint8_t>(At(rows) * kHidden),
             std::vector<std::uint8_t>(At(rows) * kHidden / 128),
             std::vector<float>(At(rows) * 4),
             std::vector<float>(At(rows) * 16)};
  std::vector<float> partial(At(rows) * (kColumns / kMixColumnsPerBlock) * kMixPartials, NAN);
  const std::uint16_t* streams = site.streams.data() + At(first_row) * kColumns;
  EmulateMix({streams, site.fn.data(), rows, kHidden, mixes, partial.data()});
  EmulatePre({streams,
              partial.data(),
              site.base.data(),
              site.scale.data(),
              mixes,
              kIterations,
              1e-6F,
              {nullptr,
               site.gain.data(),
               1e-6F,
               rows,
               kHidden,
               out.normalized.data(),
               out.quantized.data(),
               out.scale.data()},
              mixes == kMixes ? out.post.data() : nullptr,
              mixes == kMixes ? out.comb.data() : nullptr});
  return out;
}

class HyperConnection : public testing::TestWithParam<int> {};

TEST_P(HyperConnection, PreIsTheFormula) {
  const int mixes = GetParam();
  constexpr int kRows = 3;
  const Site site = DrawSite(kRows, mixes);
  Output out;
  emulator::Report report;
  InFiveOrders<std::uint16_t>(
      [&] {
        out = RunPre(site, 0, kRows, mixes);
        return out.normalized;
      },
      &report);
  ExpectTraffic({"Mix", "Pre"}, report, {At(mixes) * kColumns * sizeof(float), 0, {}});
  const Expected expected = Reference(site, kRows, mixes);
  const std::string truth =
      mixes == kMixes ? "SplitMixes, MixStreams, RmsNorm" : "HeadMixes, MixStreams, RmsNorm";
  Comparison({"Pre"}, truth).Bf16(out.normalized, expected.normalized);
  std::vector<std::uint8_t> codes(out.quantized.size()), scales(out.scale.size());
  reference::QuantiseE4m3(Widened(out.normalized), 128, codes, scales);
  const Comparison quantisation({"Pre"}, "QuantiseE4m3");
  quantisation.Equal(out.quantized, codes);
  quantisation.Equal(out.scale, scales);
  if (mixes == kMixes) {
    const Comparison split({"Pre"}, "SplitMixes");
    split.RelativeRms(out.post, expected.post);
    split.RelativeRms(out.comb, expected.comb);
  }

  emulator::Emulation emulation;
  const Output alone = RunPre(site, 2, 1, mixes);
  EXPECT_EQ(std::memcmp(alone.normalized.data(), out.normalized.data() + 2 * kHidden, kHidden * 2),
            0);
  EXPECT_EQ(std::memcmp(alone.comb.data(), out.comb.data() + 32, 64), 0);
}

TEST_P(HyperConnection, MixIsTheProductAndTheSumOfSquares) {
  const int mixes = GetParam();
  constexpr int kRows = 3;
  constexpr int kBlocks = kColumns / kMixColumnsPerBlock;
  const Site site = DrawSite(kRows, mixes);
  const auto partial = InFiveOrders<float>([&] {
    std::vector<float> out(At(kRows * kBlocks * kMixPartials), 0);
    EmulateMix({site.streams.data(), site.fn.data(), kRows, kHidden, mixes, out.data()});
    return out;
  });
  std::vector<float> products, squares, expected, expected_squares;
  for (int row = 0; row < kRows; ++row) {
    std::vector<float> sums(kMixPartials, 0);
    for (int block = 0; block < kBlocks; ++block) {
      const auto part = RowOf(partial, row * kBlocks + block, kMixPartials);
      std::transform(sums.begin(), sums.end(), part.begin(), sums.begin(), std::plus<float>());
    }
    products.insert(products.end(), sums.begin(), sums.begin() + mixes);
    squares.push_back(sums[At(mixes)]);
    const auto projections = Projections(site, row, mixes);
    expected.insert(expected.end(), projections.begin(), projections.end());
    expected_squares.push_back(SumOfSquares(site, row));
  }
  Comparison({"Mix"}, "Linear").RelativeRms(products, expected);
  Comparison({"Mix"}, "the sum of squares").RelativeRms(squares, expected_squares);
}

INSTANTIATE_TEST_SUITE_P(SublayerAndHead, HyperConnection, testing::Values(kMixes, kHeadMixes));

TEST(HyperConnectionMix, RowsOfALongPromptAreWhatEachIsAlone) {
  constexpr int kRows = 100;  // more than one block's
  constexpr int kSmallHidden = 128;
  constexpr int kWidth = kStreams * kSmallHidden;
  const auto streams = RandomBf16(kRows * kWidth, 35);
  const auto fn = RandomFloats(kMixes * kWidth, 36);
  const auto run = [&](int first, int rows) {
    std::vector<float> partial(At(rows * kWidth / kMixColumnsPerBlock) * kMixPartials);
    EmulateMix({streams.data() + At(first * kWidth),
                fn.data(),
                rows,
                kSmallHidden,
                kMixes,
                partial.data()});
    return partial;
  };
  emulator::Report report;
  const auto together = InFiveOrders<float>([&] { return run(0, kRows); }, &report);
  // fn once for 96 rows.
  ExpectTraffic({"Mix"}, report, {2 * kMixes * kWidth * sizeof(float), 0, 0});
  constexpr std::size_t kRowPartials = kWidth / kMixColumnsPerBlock * kMixPartials;
  emulator::Emulation emulation;
  for (const int row : {0, 95, 96, 99}) {
    const auto alone = run(row, 1);
    EXPECT_EQ(
        std::memcmp(
            alone.data(), together.data() + At(row) * kRowPartials, kRowPartials * sizeof(float)),
        0)
        << row;
  }
}

TEST(HyperConnectionPost, MixesTransposedAndAddsPartsInOrder) {
  constexpr int kRows = 2;
  constexpr int kParts = 3;
  const auto streams = RandomBf16(kRows * kColumns, 31);
  const auto parts = RandomFloats(kParts * kRows * kHidden, 32);
  const auto gates = RandomFloats(kRows * 4, 33);
  const auto comb = RandomFloats(kRows * 16, 34, 0.3F);
  const auto run = [&](bool in_place) {
    std::vector<std::uint16_t> out = streams;
    std::vector<std::uint16_t> other(streams.size());
    std::uint16_t* to = in_place ? out.data() : other.data();
    EmulatePost({in_place ? to : streams.data(),
                 parts.data(),
                 kParts,
                 gates.data(),
                 comb.data(),
                 kRows,
                 kHidden,
                 to});
    return in_place ? out : other;
  };
  emulator::Report report;
  const auto out = InFiveOrders<std::uint16_t>([&] { return run(false); }, &report);
  ExpectTraffic({"Post"}, report, {0, 0, out.size() * 2});
  EXPECT_EQ(out, InFiveOrders<std::uint16_t>([&] { return run(true); }));
  std::vector<float> expected = Widened(streams);
  for (int row = 0; row < kRows; ++row) {
    std::vector<float> y(kHidden, 0);
    for (int part = 0; part < kParts; ++part) {
      const auto addends = RowOf(parts, part * kRows + row, kHidden);
      std::transform(y.begin(), y.end(), addends.begin(), y.begin(), std::plus<float>());
    }
    std::transform(y.begin(), y.end(), y.begin(), numerics::RoundToBf16);
    reference::ReturnToStreams(y,
                               RowOf(gates, row, kStreams),
                               RowOf(comb, row, kStreams * kStreams),
                               true,
                               RowOf(expected, row, kColumns));
  }
  Comparison({"Post"}, "ReturnToStreams").Bf16(out, expected);
}

// Rows beyond a block's sixteen at a time, and beyond its 96.
TEST(HyperConnectionPostMix, IsPostAndThenMix) {
  for (const int rows : {1, 6, 17, 98}) {
    constexpr int kSmallHidden = 128;
    constexpr int kWidth = kStreams * kSmallHidden;
    const auto streams = RandomBf16(At(rows * kWidth), 41);
    const auto y = RandomFloats(At(2 * rows * kSmallHidden), 42);
    const auto gates = RandomFloats(At(rows * 4), 43);
    const auto comb = RandomFloats(At(rows * 16), 44, 0.3F);
    const auto fn = RandomFloats(kMixes * kWidth, 45);
    const auto run = [&](bool fused) {
      std::vector<std::uint16_t> out = streams;
      std::vector<float> partial(At(rows * kWidth / kMixColumnsPerBlock) * kMixPartials);
      const PostMixArguments a{
          {out.data(), y.data(), 2, gates.data(), comb.data(), rows, kSmallHidden, out.data()},
          {out.data(), fn.data(), rows, kSmallHidden, kMixes, partial.data()}};
      if (fused) {
        EmulatePostMix(a);
      } else {
        EmulatePost(a.post);
        EmulateMix(a.mix);
      }
      const auto* bits = reinterpret_cast<const std::uint16_t*>(partial.data());
      out.insert(out.end(), bits, bits + partial.size() * 2);
      return out;
    };
    std::vector<std::uint16_t> separate;
    {
      emulator::Emulation emulation;
      separate = run(false);
    }
    emulator::Report report;
    Comparison({"PostMix"}, "Post, Mix")
        .Equal(InFiveOrders<std::uint16_t>([&] { return run(true); }, &report), separate);
    const std::uint64_t fn_bytes = At((rows + 95) / 96) * kMixes * kWidth * sizeof(float);
    ExpectTraffic({"PostMix"}, report, {fn_bytes, 0, At(rows * kWidth) * 2});
  }
}

TEST(HyperConnectionMix, AsksForTheNextWeightsBeforeItWaits) {
  const auto streams = RandomBf16(kColumns, 46);
  const auto fn = RandomFloats(kMixes * kColumns, 47);
  std::vector<float> partial(At(kColumns / kMixColumnsPerBlock) * kMixPartials);
  const std::vector<std::byte> next(1040);
  emulator::Emulation emulation;
  EmulateMix({streams.data(), fn.data(), 1, kHidden, kMixes, partial.data(), next.data(), 1040});
  EXPECT_TRUE(emulation.report().findings.empty()) << emulation.report().ToString();
  if (!kOnGpu) {
    EXPECT_EQ(emulation.report().prefetched_bytes, next.size());
    EXPECT_EQ(emulation.report().prefetched_before_wait_bytes, next.size());
    EXPECT_EQ(emulation.report().loaded_before_wait_bytes, kMixes * kColumns * sizeof(float));
  }
}

}  // namespace
}  // namespace sparkspan::kernels
