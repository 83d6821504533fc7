#include "kernels/compressor/compressor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <vector>

#include "kernels/reference/compressor.h"
#include "kernels/reference/norm.h"
#include "kernels/reference/rope.h"
#include "tests/unit/kernels/compressor/compressor_feed.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"
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

// Entry j as it is stored, but for its last rounding.
std::vector<float> Entry(const Sequence& s, int j) {
  const bool overlaps = s.width == 2 * s.d;
  std::vector<std::vector<float>> gates;
  std::vector<reference::PoolingCandidate> candidates;
  for (int t = overlaps ? std::max(j - 1, 0) * s.ratio : j * s.ratio; t < (j + 1) * s.ratio; ++t) {
    const int channel = overlaps && t >= j * s.ratio ? s.d : 0;
    const auto ape = RowOf(s.ape, t % s.ratio, s.width);
    auto& gate = gates.emplace_back(At(s.width));
    const auto projected = RowOf(s.projected, t * 2 + 1, s.width);
    std::transform(
        projected.begin(), projected.end(), ape.begin(), gate.begin(), std::plus<float>());
    candidates.push_back(
        {s.projected.data() + At(t * 2 * s.width + channel), gate.data() + channel});
  }
  std::vector<float> x(At(s.d));
  reference::PoolCandidates(candidates, true, x);
  reference::RmsNorm(x, Widened(s.gain), kEpsilon, true, x);
  const auto rope = Angles(s.ratio, j, 1);
  reference::ApplyRope(std::span(x).last(kRopeDim),
                       std::span(rope).first(kRopePairs),
                       std::span(rope).last(kRopePairs),
                       false,
                       true);
  if (s.d == kIndexDim) {
    reference::Hadamard(x, true);
  }
  return x;
}
std::vector<float> Entries(const Sequence& s, int count) {
  std::vector<float> entries;
  for (int j = 0; j < count; ++j) {
    const auto entry = Entry(s, j);
    entries.insert(entries.end(), entry.begin(), entry.end());
  }
  return entries;
}

class Compressor : public testing::TestWithParam<Case> {};

TEST_P(Compressor, EntriesFollowTheFormulaHoweverTheTokensCame) {
  const Case& c = GetParam();
  const Sequence s = Draw(c.ratio, kHeadDim, c.tokens);
  const int entries = c.tokens / c.ratio;
  const auto angles = [&](int first, int count) { return Angles(c.ratio, first, count); };
  emulator::Report report;
  const auto stored = InFiveOrders<std::uint8_t>(
      [&] { return Feed(s, c.chunks, entries, angles).stored; }, &report);
  ExpectTraffic({"CompressEntries", "RingWrite"}, report, {});
  Comparison({"CompressEntries"}, "PoolCandidates, RmsNorm, ApplyRope, EncodeEntry")
      .Entries(stored, Entries(s, entries));

  emulator::Emulation emulation;
  const Fed whole = Feed(s, {c.tokens}, entries, angles);
  EXPECT_EQ(stored, whole.stored) << "chunks and one piece differ";
  // The newest tokens, each in its slot, gates with ape.
  const Fed fed = Feed(s, c.chunks, entries, angles);
  std::vector<float> ring, expected;
  for (int t = std::max(0, c.tokens - s.slots); t < c.tokens; ++t) {
    const auto slot = RowOf(fed.ring, t % s.slots, 2 * s.width);
    ring.insert(ring.end(), slot.begin(), slot.end());
    const auto values = RowOf(s.projected, t * 2, s.width);
    expected.insert(expected.end(), values.begin(), values.end());
    const auto gates = RowOf(s.projected, t * 2 + 1, s.width);
    const auto ape = RowOf(s.ape, t % s.ratio, s.width);
    std::transform(
        gates.begin(), gates.end(), ape.begin(), std::back_inserter(expected), std::plus<float>());
  }
  Comparison({"RingWrite"}, "the projections").Equal(ring, expected);
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
  const auto angles = [](int first, int count) { return Angles(4, first, count); };
  emulator::Report report;
  const auto stored = InFiveOrders<std::uint8_t>(
      [&] {
        return Feed(s, {5, 12}, kTokens / 4, angles).stored;
      },
      &report);
  ExpectTraffic({"CompressKeys", "RingWrite"}, report, {});
  Comparison({"CompressKeys"}, "PoolCandidates, RmsNorm, ApplyRope, Hadamard, EncodeKey")
      .Keys(stored, Entries(s, kTokens / 4));
}

}  // namespace
}  // namespace sparkspan::kernels
