#include "kernels/embedding/embedding.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/numerics/formats.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

constexpr int kHidden = 1028;  // more columns than four a thread

TEST(Embed, CopiesOwnRowsAndLeavesZerosForOthers) {
  constexpr int kFirst = 10;
  constexpr int kRows = 3;
  const auto table = RandomBf16(At(kRows * kHidden), 61);
  const std::vector<std::int32_t> tokens = {12, 9, 10, 13, 12};
  const int rows = static_cast<int>(tokens.size());
  emulator::Report report;
  const auto out = InFiveOrders<float>(
      [&] {
        std::vector<float> result(At(rows * kHidden), -5);
        EmulateEmbed({table.data(), tokens.data(), kFirst, kRows, rows, kHidden, result.data()});
        return result;
      },
      &report);
  ExpectTraffic({"Embed"}, report, {0, 0, out.size() * sizeof(float)});
  std::vector<float> expected(out.size(), 0);
  for (int row = 0; row < rows; ++row) {
    const int at = tokens[At(row)] - kFirst;
    for (int i = 0; at >= 0 && at < kRows && i < kHidden; ++i) {
      expected[At(row * kHidden + i)] = simt::bf16_to_float(table[At(at * kHidden + i)]);
    }
  }
  Comparison({"Embed"}, "the table").Equal(out, expected);
}

TEST(OpenStreams, EveryStreamIsTheRoundedSum) {
  constexpr int kRows = 2;
  constexpr int kParts = 2;
  const auto parts = RandomFloats(At(kParts * kRows * kHidden), 62);
  emulator::Report report;
  const auto streams = InFiveOrders<std::uint16_t>(
      [&] {
        std::vector<std::uint16_t> out(At(kRows * kStreams * kHidden));
        EmulateOpenStreams({parts.data(), kParts, kRows, kHidden, out.data()});
        return out;
      },
      &report);
  ExpectTraffic({"OpenStreams"}, report, {0, 0, kRows * kStreams * kHidden * 2});
  std::vector<std::uint16_t> expected;
  for (int at = 0; at < kRows * kStreams * kHidden; ++at) {
    const int from = at / (kStreams * kHidden) * kHidden + at % kHidden;
    expected.push_back(numerics::Bf16OfFloat(parts[At(from)] + parts[At(kRows * kHidden + from)]));
  }
  Comparison({"OpenStreams"}, "the rounded sum").Equal(streams, expected);
}

TEST(StreamMean, StandsWhereTheDrafterExpectsIt) {
  constexpr int kRows = 3;
  constexpr int kPitch = 2 * kHidden;
  const auto streams = RandomBf16(At(kRows * kStreams * kHidden), 63);
  emulator::Report report;
  const auto out = InFiveOrders<std::uint16_t>(
      [&] {
        std::vector<std::uint16_t> result(At(kRows * kPitch), 7);
        EmulateStreamMean({streams.data(), kRows, kHidden, result.data() + kHidden, kPitch});
        return result;
      },
      &report);
  ExpectTraffic({"StreamMean"}, report, {0, 0, kRows * kHidden * 2});
  std::vector<std::uint16_t> expected(out.size(), 7);
  for (int row = 0; row < kRows; ++row) {
    for (int i = 0; i < kHidden; ++i) {
      double sum = 0;
      for (int s = 0; s < kStreams; ++s) {
        sum += Bf16Value(streams[At((row * kStreams + s) * kHidden + i)]);
      }
      expected[At(row * kPitch + kHidden + i)] =
          numerics::Bf16OfFloat(static_cast<float>(sum / kStreams));
    }
  }
  Comparison({"StreamMean"}, "the rounded mean").Equal(out, expected);
}

}  // namespace
}  // namespace sparkspan::kernels
