#include "kernels/compressor/compressor.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

constexpr float kEpsilon = 1e-6F;

struct Case {
  const char* name;
  int ratio;
  int tokens;
  std::vector<int> chunks;  // lengths that add up to tokens
};

// A sequence's projections, and everything a launch needs around them.
struct Sequence {
  int ratio;
  int d;
  int width;
  int slots;
  std::vector<float> projected;  // [tokens, 2, width]
  std::vector<float> ape;
  std::vector<std::uint16_t> gain;
};

Sequence Draw(int ratio, int d, int tokens) {
  const int width = ratio == 4 ? 2 * d : d;
  const int reach = ratio == 4 ? 8 : 128;
  return {ratio,
          d,
          width,
          reach + 6,
          RandomFloats(At(tokens * 2 * width), 91, 1.5F),
          RandomFloats(At(ratio * width), 92),
          RandomBf16(At(d), 93)};
}

// cos and sin of the angles at position ratio * j, one row an entry.
std::vector<float> Angles(int ratio, int first_entry, int entries) {
  std::vector<float> rope(At(entries) * kRopeDim);
  for (int e = 0; e < entries; ++e) {
    for (int i = 0; i < kRopePairs; ++i) {
      const double angle = ratio * (first_entry + e) / std::pow(160000.0, i / 32.0);
      rope[At(e * kRopeDim + i)] = static_cast<float>(std::cos(angle));
      rope[At(e * kRopeDim + kRopePairs + i)] = static_cast<float>(std::sin(angle));
    }
  }
  return rope;
}

// Feeds the tokens chunk by chunk and returns the stored bytes of all entries.
std::vector<std::uint8_t> Feed(const Sequence& s, const std::vector<int>& chunks, int entries_max) {
  const bool index = s.d == kIndexDim;
  const int entry_bytes = index ? kIndexKeyBytes : kEntryBytes;
  std::vector<std::uint8_t> stored(At(entries_max * entry_bytes));
  // The second of two sequences' rings; what it holds at first must not matter.
  const std::int64_t stride = s.slots * 2 * s.width;
  std::vector<float> rings(static_cast<std::size_t>(2 * stride), NAN);
  int position = 0;
  for (const int length : chunks) {
    std::vector<std::int32_t> positions, chunk_rows(At(length), 0), sequences(At(length), 1);
    std::vector<std::int32_t> boundaries, slots;
    for (int row = 0; row < length; ++row) {
      positions.push_back(position + row);
      if ((position + row + 1) % s.ratio == 0) {
        boundaries.push_back(row);
        slots.push_back((position + row) / s.ratio);
      }
    }
    const CompressorRows rows{s.projected.data() + At(position * 2 * s.width),
                              s.ape.data(),
                              positions.data(),
                              chunk_rows.data(),
                              sequences.data(),
                              rings.data(),
                              stride,
                              s.slots,
                              s.ratio,
                              s.width};
    const int entries = static_cast<int>(boundaries.size());
    if (entries > 0) {
      const auto rope = Angles(s.ratio, slots.front(), entries);
      CompressArguments arguments{};
      arguments.rows = rows;
      arguments.boundary_rows = boundaries.data();
      arguments.slots = slots.data();
      arguments.entries = entries;
      arguments.gain = s.gain.data();
      arguments.rope = rope.data();
      arguments.epsilon = kEpsilon;
      if (index) {
        arguments.index = {stored.data(), 0, 1 << 20};
        EmulateCompressKeys(arguments);
      } else {
        arguments.pages = {stored.data(), 0, 1 << 20};
        EmulateCompressEntries(arguments);
      }
    }
    EmulateRingWrite({rows, length});
    position += length;
  }
  return stored;
}

// The pooled, normalised vector of entry j by the formula, before its rotation; rounded as stated.
std::vector<double> Pooled(const Sequence& s, int j) {
  std::vector<double> x(At(s.d));
  const bool overlaps = s.width == 2 * s.d;
  double squares = 0;
  for (int c = 0; c < s.d; ++c) {
    double sum = 0;
    double weights = 0;
    for (int t = (overlaps ? j - 1 : j) * s.ratio; t < (j + 1) * s.ratio; ++t) {
      if (t < 0) {
        continue;
      }
      const int channel = overlaps && t >= j * s.ratio ? s.d + c : c;
      const double gate = static_cast<double>(s.projected[At((t * 2 + 1) * s.width + channel)]) +
                          s.ape[At(t % s.ratio * s.width + channel)];
      sum += std::exp(gate) * s.projected[At(t * 2 * s.width + channel)];
      weights += std::exp(gate);
    }
    x[At(c)] = Bf16Value(simt::float_to_bf16(static_cast<float>(sum / weights)));
    squares += x[At(c)] * x[At(c)];
  }
  for (int c = 0; c < s.d; ++c) {
    const double y = x[At(c)] * Bf16Value(s.gain[At(c)]) /
                     std::sqrt(squares / s.d + static_cast<double>(kEpsilon));
    x[At(c)] = Bf16Value(simt::float_to_bf16(static_cast<float>(y)));
  }
  return x;
}

class Compressor : public testing::TestWithParam<Case> {};

TEST_P(Compressor, EntriesFollowTheFormulaHoweverTheTokensCame) {
  const Case& c = GetParam();
  const Sequence s = Draw(c.ratio, kHeadDim, c.tokens);
  const int entries = c.tokens / c.ratio;
  const auto stored = InFiveOrders<std::uint8_t>([&] { return Feed(s, c.chunks, entries); });
  double worst = 0;
  for (int j = 0; j < entries; ++j) {
    const auto x = Pooled(s, j);
    const std::uint8_t* entry = stored.data() + j * kEntryBytes;
    for (int i = 0; i < kPlainDim; ++i) {
      const double scale = simt::ue8m0_to_float(entry[kEntryScales + i / kEntryGroup]);
      // Half an e4m3 step, and a bf16 step of the value where fp32 and exact pooling disagree.
      const double bound =
          std::max(std::fabs(x[At(i)]) / 16, scale * 0x1p-10) + std::fabs(x[At(i)]) * 0x1p-7;
      worst = std::max(worst, std::fabs(simt::e4m3_to_float(entry[i]) * scale - x[At(i)]) / bound);
    }
  }
  std::printf("worst error %.2f of the quantisation's own\n", worst);
  EXPECT_LE(worst, 1);

  emulator::Emulation emulation;
  EXPECT_EQ(stored, Feed(s, {c.tokens}, entries)) << "chunks and one piece differ";
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         Compressor,
                         testing::Values(Case{"overlap", 4, 22, {3, 1, 1, 1, 9, 7}},
                                         Case{
                                             "overlap_by_token", 4, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}},
                                         Case{"dense", 128, 257, {100, 27, 1, 129}}),
                         [](const auto& each) { return each.param.name; });

TEST(CompressorKeys, AreHadamardTransformedAndQuantised) {
  constexpr int kTokens = 17;
  const Sequence s = Draw(4, kIndexDim, kTokens);
  const auto stored = InFiveOrders<std::uint8_t>([&] { return Feed(s, {5, 12}, kTokens / 4); });
  int apart = 0;
  for (int j = 0; j < kTokens / 4; ++j) {
    auto x = Pooled(s, j);
    const auto rope = Angles(4, j, 1);
    for (int i = 0; i < kRopePairs; ++i) {
      double& low = x[At(64 + 2 * i)];
      double& high = x[At(65 + 2 * i)];
      const double rotated = low * rope[At(i)] - high * rope[At(32 + i)];
      high = Bf16Value(
          simt::float_to_bf16(static_cast<float>(low * rope[At(32 + i)] + high * rope[At(i)])));
      low = Bf16Value(simt::float_to_bf16(static_cast<float>(rotated)));
    }
    for (int group = 0; group < kIndexDim; group += kIndexGroup) {
      std::vector<double> y(kIndexGroup);
      double amax = 0;
      for (int i = 0; i < kIndexGroup; ++i) {
        for (int k = 0; k < kIndexDim; ++k) {
          y[At(i)] +=
              x[At(k)] * (std::popcount(static_cast<unsigned>((group + i) & k)) % 2 == 0 ? 1 : -1);
        }
        y[At(i)] = Bf16Value(simt::float_to_bf16(static_cast<float>(y[At(i)] / std::sqrt(128.0))));
        amax = std::max(amax, std::fabs(y[At(i)]));
      }
      const std::uint8_t* key = stored.data() + j * kIndexKeyBytes;
      const int byte = ScaleByte(amax, 6);
      EXPECT_EQ(key[kIndexCodeBytes + group / kIndexGroup], byte);
      for (int i = 0; i < kIndexGroup; ++i) {
        const unsigned code = key[(group + i) / 2] >> (i % 2 * 4) & 15U;
        apart += code != simt::float_to_e2m1(static_cast<float>(std::ldexp(y[At(i)], 127 - byte)));
      }
    }
  }
  std::printf("%d of %d codes differ, at most 5 may\n", apart, kTokens / 4 * kIndexDim);
  EXPECT_LE(apart, 5);
}

}  // namespace
}  // namespace sparkspan::kernels
