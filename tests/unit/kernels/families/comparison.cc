#include "tests/unit/kernels/families/comparison.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "kernels/attention/entry.h"
#include "kernels/indexer/index_score.h"
#include "kernels/reference/quantise.h"

namespace sparkspan::kernels {
namespace {

constexpr double kUlpsMax = 2;
constexpr const char* kUlps = "bf16 ulp";

double UlpOf(double value) {
  return std::ldexp(1.0, std::ilogb(std::max(std::fabs(value), 0x1p-126)) - 7);
}

// The root mean square of the difference over that of the expected values.
double RelativeError(std::span<const float> actual, std::span<const float> expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double errors = 0;
  double squares = 0;
  for (std::size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
    errors += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    squares += std::pow(static_cast<double>(expected[i]), 2);
  }
  EXPECT_GT(squares, 0);
  return std::sqrt(errors / squares);
}

// The magnitudes of a format's codes, ascending.
template <int kCodes, class Decode>
std::array<double, kCodes> Magnitudes(const Decode& decode) {
  std::array<double, kCodes> values{};
  for (int code = 0; code < kCodes; ++code) {
    values[At(code)] = decode(code);
  }
  return values;
}

// How far `expected` is from the values that round to a code, in its bf16 units.
double UlpsFromCode(std::span<const double> magnitudes,
                    unsigned magnitude,
                    bool negative,
                    double scale,
                    double expected) {
  const double x = (negative ? -expected : expected) / scale;
  const double value = magnitudes[magnitude];
  const double below = magnitude == 0 ? -magnitudes[1] : magnitudes[magnitude - 1];
  const double low = (below + value) / 2;
  const double high =
      magnitude + 1 < magnitudes.size() ? (value + magnitudes[magnitude + 1]) / 2 : INFINITY;
  return std::max({0.0, low - x, x - high}) * scale / UlpOf(expected);
}

double E4m3Ulps(std::uint8_t code, std::uint8_t scale, double expected) {
  static const auto magnitudes =
      Magnitudes<127>([](int c) { return simt::e4m3_to_float(static_cast<std::uint8_t>(c)); });
  return UlpsFromCode(
      magnitudes, code & 0x7FU, (code & 0x80U) != 0, simt::ue8m0_to_float(scale), expected);
}
double E2m1Ulps(unsigned code, std::uint8_t scale, double expected) {
  static const auto magnitudes =
      Magnitudes<8>([](int c) { return simt::e2m1_to_float(static_cast<std::uint32_t>(c)); });
  return UlpsFromCode(
      magnitudes, code & 7U, (code & 8U) != 0, simt::ue8m0_to_float(scale), expected);
}

// The worst code of groups in e4m3.
double WorstE4m3(std::span<const std::uint8_t> codes,
                 std::span<const std::uint8_t> scales,
                 std::span<const float> expected,
                 int group) {
  std::vector<std::uint8_t> own_codes(expected.size());
  std::vector<std::uint8_t> own_scales(expected.size() / At(group));
  reference::QuantiseE4m3(expected, group, own_codes, own_scales);
  double worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::uint8_t scale = scales[i / At(group)];
    EXPECT_EQ(scale, own_scales[i / At(group)]) << "of element " << i;
    worst = std::max(worst, E4m3Ulps(codes[i], scale, expected[i]));
  }
  return worst;
}

}  // namespace

std::map<ComparisonKey, Closeness>& Ledger() {
  static std::map<ComparisonKey, Closeness> ledger;
  return ledger;
}

void Comparison::Record(const std::string& measure, double error, double limit) const {
  for (const std::string& launch : launches_) {
    std::printf("%s beside %s: %.3g of %.3g %s\n",
                launch.c_str(),
                truth_.c_str(),
                error,
                limit,
                measure.c_str());
    Closeness& closeness = Ledger()[{launch, truth_, measure}];
    closeness = {std::max(closeness.worst, error), limit};
  }
  EXPECT_LE(error, limit) << measure << " beside " << truth_;
}

void Comparison::Bf16(std::span<const std::uint16_t> actual,
                      std::span<const float> expected) const {
  ASSERT_EQ(actual.size(), expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    worst = std::max(worst, std::fabs(Bf16Value(actual[i]) - expected[i]) / UlpOf(expected[i]));
  }
  Record(kUlps, worst, kUlpsMax);
}

void Comparison::RelativeRms(std::span<const float> actual,
                             std::span<const float> expected,
                             double limit) const {
  Record("relative rms", RelativeError(actual, expected), limit);
}

void Comparison::AsNearAsTheReference(std::span<const float> actual,
                                      std::span<const float> rounded,
                                      std::span<const float> exact) const {
  const double own = RelativeError(rounded, exact);
  const double error = RelativeError(actual, exact);
  std::printf("relative rms beside exact values %.2g, the reference's %.2g\n", error, own);
  Record("error over the reference's own", error / own, 1.1);
}

void Comparison::E4m3(std::span<const std::uint8_t> codes,
                      std::span<const std::uint8_t> scales,
                      std::span<const float> expected,
                      int group) const {
  ASSERT_EQ(codes.size(), expected.size());
  Record(kUlps, WorstE4m3(codes, scales, expected, group), kUlpsMax);
}

void Comparison::Entries(std::span<const std::uint8_t> stored,
                         std::span<const float> expected) const {
  ASSERT_EQ(stored.size() / kEntryBytes, expected.size() / kHeadDim);
  double worst = 0;
  for (std::size_t entry = 0; entry < stored.size() / kEntryBytes; ++entry) {
    const auto bytes = stored.subspan(entry * kEntryBytes, kEntryBytes);
    const auto values = expected.subspan(entry * kHeadDim, kHeadDim);
    EXPECT_EQ(bytes[kEntryRope - 1], 0) << "the byte after the scales";
    worst = std::max(worst,
                     WorstE4m3(bytes.first(kPlainDim),
                               bytes.subspan(kEntryScales, kPlainDim / kEntryGroup),
                               values.first(kPlainDim),
                               kEntryGroup));
    for (std::size_t i = 0; i < kRopeDim; ++i) {
      const std::size_t at = kEntryRope + 2 * i;
      const auto bits = static_cast<std::uint16_t>(bytes[at] | bytes[at + 1] << 8);
      const double value = values[kPlainDim + i];
      worst = std::max(worst, std::fabs(Bf16Value(bits) - value) / UlpOf(value));
    }
  }
  Record(kUlps, worst, kUlpsMax);
}

void Comparison::Keys(std::span<const std::uint8_t> stored, std::span<const float> expected) const {
  ASSERT_EQ(stored.size() / kIndexKeyBytes, expected.size() / kIndexDim);
  std::vector<std::uint8_t> own_codes(expected.size());
  std::vector<std::uint8_t> own_scales(expected.size() / kIndexGroup);
  reference::QuantiseE2m1(expected, kIndexGroup, own_codes, own_scales);
  double worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::uint8_t* key = stored.data() + i / kIndexDim * kIndexKeyBytes;
    const std::size_t place = i % kIndexDim;
    const std::uint8_t scale = key[kIndexCodeBytes + place / kIndexGroup];
    EXPECT_EQ(scale, own_scales[i / kIndexGroup]) << "of element " << i;
    worst = std::max(worst, E2m1Ulps(key[place / 2] >> (place % 2 * 4) & 15U, scale, expected[i]));
  }
  Record(kUlps, worst, kUlpsMax);
}

}  // namespace sparkspan::kernels
