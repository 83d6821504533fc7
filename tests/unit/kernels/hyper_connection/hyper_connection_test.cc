#include "kernels/hyper_connection/hyper_connection.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"
#include "tests/unit/kernels/simt/traffic.h"

namespace sparkspan::kernels {
namespace {

constexpr int kHidden = 384;
constexpr int kColumns = kStreams * kHidden;
constexpr int kIterations = 20;

double Sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

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

// One row by the formulas of the header, in double precision.
struct Expected {
  std::array<double, 4> pre{};
  std::array<double, 4> post{};
  std::array<std::array<double, 4>, 4> comb{};
};

Expected Reference(const Site& site, int row, int mixes) {
  std::vector<double> m(At(mixes));
  double squares = 0;
  for (int k = 0; k < kColumns; ++k) {
    const double x = Bf16Value(site.streams[At(row * kColumns + k)]);
    squares += x * x;
    for (int j = 0; j < mixes; ++j) {
      m[At(j)] += site.fn[At(j * kColumns + k)] * x;
    }
  }
  const double r = 1 / std::sqrt(squares / kColumns + 1e-6);
  const auto logit = [&](int j, int part) {
    return m[At(j)] * r * site.scale[At(part)] + site.base[At(j)];
  };
  Expected e;
  for (int i = 0; i < 4; ++i) {
    e.pre[At(i)] = Sigmoid(logit(i, 0)) + 1e-6;
    if (mixes == kHeadMixes) {
      continue;
    }
    e.post[At(i)] = 2 * Sigmoid(logit(4 + i, 1));
    double sum = 0;
    for (int j = 0; j < 4; ++j) {
      sum += e.comb[At(i)][At(j)] = std::exp(logit(8 + 4 * i + j, 2));
    }
    for (double& c : e.comb[At(i)]) {
      c = c / sum + 1e-6;
    }
  }
  for (int iteration = 0; mixes == kMixes && iteration < kIterations; ++iteration) {
    for (int i = 0; iteration > 0 && i < 4; ++i) {
      double sum = 1e-6;
      for (const double c : e.comb[At(i)]) {
        sum += c;
      }
      for (double& c : e.comb[At(i)]) {
        c /= sum;
      }
    }
    for (int j = 0; j < 4; ++j) {
      double sum = 1e-6;
      for (int i = 0; i < 4; ++i) {
        sum += e.comb[At(i)][At(j)];
      }
      for (int i = 0; i < 4; ++i) {
        e.comb[At(i)][At(j)] /= sum;
      }
    }
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
  InFiveOrders<std::uint16_t>([&] {
    out = RunPre(site, 0, kRows, mixes);
    return out.normalized;
  });
  std::vector<double> normalized;
  double worst = 0;
  for (int row = 0; row < kRows; ++row) {
    const Expected e = Reference(site, row, mixes);
    std::vector<double> u(kHidden);
    double squares = 0;
    for (int d = 0; d < kHidden; ++d) {
      for (int s = 0; s < 4; ++s) {
        u[At(d)] += e.pre[At(s)] * Bf16Value(site.streams[At(row * kColumns + s * kHidden + d)]);
      }
      u[At(d)] = Bf16Value(simt::float_to_bf16(static_cast<float>(u[At(d)])));
      squares += u[At(d)] * u[At(d)];
    }
    for (int d = 0; d < kHidden; ++d) {
      normalized.push_back(u[At(d)] * Bf16Value(site.gain[At(d)]) /
                           std::sqrt(squares / kHidden + 1e-6));
    }
    for (int i = 0; mixes == kMixes && i < 4; ++i) {
      worst = std::max(worst, std::fabs(out.post[At(row * 4 + i)] - e.post[At(i)]));
      for (int j = 0; j < 4; ++j) {
        worst =
            std::max(worst, std::fabs(out.comb[At(row * 16 + i * 4 + j)] - e.comb[At(i)][At(j)]));
      }
    }
  }
  ExpectBf16Close(out.normalized, normalized);
  ExpectQuantized(out.normalized, out.quantized, out.scale, 128);
  std::printf("worst weight error %.2g of 1e-5\n", worst);
  EXPECT_LT(worst, 1e-5);

  emulator::Emulation emulation;
  const Output alone = RunPre(site, 2, 1, mixes);
  EXPECT_EQ(std::memcmp(alone.normalized.data(), out.normalized.data() + 2 * kHidden, kHidden * 2),
            0);
  EXPECT_EQ(std::memcmp(alone.comb.data(), out.comb.data() + 32, 64), 0);
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
  ExpectTraffic(report, {2 * kMixes * kWidth * sizeof(float), 0});
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
  const auto out = InFiveOrders<std::uint16_t>([&] { return run(false); });
  EXPECT_EQ(out, InFiveOrders<std::uint16_t>([&] { return run(true); }));
  std::vector<double> expected;
  for (int row = 0; row < kRows; ++row) {
    for (int j = 0; j < 4; ++j) {
      for (int d = 0; d < kHidden; ++d) {
        float y = 0;
        for (int part = 0; part < kParts; ++part) {
          y += parts[At((part * kRows + row) * kHidden + d)];
        }
        double sum = gates[At(row * 4 + j)] * Bf16Value(simt::float_to_bf16(y));
        for (int i = 0; i < 4; ++i) {
          sum += comb[At(row * 16 + i * 4 + j)] *
                 Bf16Value(streams[At(row * kColumns + i * kHidden + d)]);
        }
        expected.push_back(sum);
      }
    }
  }
  // Sums of five terms may cancel: judged by their size, not by the result's.
  double worst = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    worst = std::max(
        worst, std::fabs(Bf16Value(out[i]) - expected[i]) / std::max(std::fabs(expected[i]), 0.05));
  }
  std::printf("worst relative error %.2g of 2^-8\n", worst);
  EXPECT_LE(worst, 1.0 / 256 * 1.01);
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
    EXPECT_EQ(InFiveOrders<std::uint16_t>([&] { return run(true); }, &report), separate) << rows;
    ExpectTraffic(report,
                  {At((rows + 95) / 96) * kMixes * kWidth * sizeof(float), At(rows * kWidth) * 2});
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
