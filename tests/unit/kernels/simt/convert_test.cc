// The storage formats against their definitions, exhaustively where they are small. The
// conversions run outside any kernel: they use no lane.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/simt/simt.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {
namespace {

// The nearest of a format's finite values in double precision; ties take the even code.
std::uint32_t Nearest(const std::vector<double>& values, double magnitude) {
  std::uint32_t best = 0;
  for (std::uint32_t code = 1; code < values.size(); ++code) {
    const double distance = std::fabs(values[code] - magnitude);
    const double best_distance = std::fabs(values[best] - magnitude);
    if (distance < best_distance || (distance == best_distance && code % 2 == 0)) {
      best = code;
    }
  }
  return best;
}

std::vector<double> E4m3Values() {
  std::vector<double> values;
  for (int code = 0; code < 127; ++code) {
    const int exponent = code / 8;
    values.push_back(exponent == 0 ? std::ldexp(code % 8, -9)
                                   : std::ldexp(8 + code % 8, exponent - 10));
  }
  return values;
}

// Each value, each midpoint, and the floats beside both.
std::vector<float> Probes(const std::vector<double>& values) {
  std::vector<float> probes = {1e9F, 1e-30F};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double next = i + 1 < values.size() ? values[i + 1] : values[i] * 1.1;
    for (const double at : {values[i], (values[i] + next) / 2}) {
      const auto probe = static_cast<float>(at);
      probes.push_back(probe);
      probes.push_back(std::nextafter(probe, 1e30F));
      probes.push_back(std::max(0.0F, std::nextafter(probe, 0.0F)));
    }
  }
  return probes;
}

TEST(Convert, E4m3IsExhaustivelyItsDefinition) {
  const std::vector<double> values = E4m3Values();
  for (std::uint32_t code = 0; code < 127; ++code) {
    EXPECT_EQ(simt::e4m3_to_float(static_cast<std::uint8_t>(code)), values[code]);
    EXPECT_EQ(simt::e4m3_to_float(static_cast<std::uint8_t>(code | 0x80U)), -values[code]);
  }
  EXPECT_TRUE(std::isnan(simt::e4m3_to_float(0x7F)));
  EXPECT_EQ(simt::float_to_e4m3(std::nanf("")), 0x7F);
  for (const float probe : Probes(values)) {
    const std::uint32_t code = Nearest(values, std::min(probe, 448.0F));
    EXPECT_EQ(simt::float_to_e4m3(probe), code) << probe;
    EXPECT_EQ(simt::float_to_e4m3(-probe), code | 0x80U) << probe;
  }
}

TEST(Convert, E2m1IsExhaustivelyItsDefinition) {
  const std::vector<double> values = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  for (std::uint32_t code = 0; code < 8; ++code) {
    EXPECT_EQ(simt::e2m1_to_float(code), values[code]);
    EXPECT_EQ(simt::e2m1_to_float(code | 8U), -values[code]);
  }
  for (const float probe : Probes(values)) {
    const std::uint32_t code = Nearest(values, std::min(probe, 6.0F));
    EXPECT_EQ(simt::float_to_e2m1(probe), code) << probe;
    EXPECT_EQ(simt::float_to_e2m1(-probe), code | 8U) << probe;
  }
}

TEST(Convert, Bf16RoundsToNearestEven) {
  for (std::uint32_t high = 0; high < 0x7F80; high += 7) {
    const auto value = std::bit_cast<float>(high << 16);
    const auto next = std::bit_cast<float>((high + 1) << 16);
    EXPECT_EQ(simt::float_to_bf16(value), high);
    const auto middle = std::bit_cast<float>(high << 16 | 0x8000U);
    EXPECT_EQ(simt::float_to_bf16(middle), high + high % 2);
    EXPECT_EQ(simt::float_to_bf16(std::nextafter(middle, next)), high + 1);
    EXPECT_EQ(simt::float_to_bf16(-std::nextafter(middle, value)), high | 0x8000U);
    EXPECT_EQ(simt::bf16_to_float(static_cast<std::uint16_t>(high)), value);
  }
  EXPECT_TRUE(std::isnan(simt::bf16_to_float(simt::float_to_bf16(std::nanf("")))));
  EXPECT_EQ(simt::pack_bf16(1.0F, -2.0F), 0xC0003F80U);
  EXPECT_EQ(simt::low_bf16(0xC0003F80U), 1.0F);
  EXPECT_EQ(simt::high_bf16(0xC0003F80U), -2.0F);
}

TEST(Convert, ScalesAreTheSmallestPowersThatHoldTheMaximum) {
  for (std::uint32_t byte = 0; byte < 255; ++byte) {
    EXPECT_EQ(simt::ue8m0_to_float(byte), std::ldexp(1.0, static_cast<int>(byte) - 127));
  }
  EXPECT_TRUE(std::isnan(simt::ue8m0_to_float(255)));
  for (std::uint32_t byte = 1; byte < 254; ++byte) {
    EXPECT_EQ(simt::ue8m0_inverse(byte) * simt::ue8m0_to_float(byte), 1.0F);
  }
  // Every bf16 amax from the floor up.
  for (std::uint32_t high = 0x38D2; high < 0x4780; ++high) {
    const auto amax = std::bit_cast<float>(high << 16);
    const std::uint32_t byte = simt::e4m3_scale(amax);
    EXPECT_LE(amax, 448.0 * std::ldexp(1.0, static_cast<int>(byte) - 127));
    EXPECT_GT(amax, 448.0 * std::ldexp(1.0, static_cast<int>(byte) - 128));
  }
}

}  // namespace
}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
