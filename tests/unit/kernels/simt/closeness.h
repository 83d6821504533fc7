#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <span>
#include <vector>

#include "kernels/simt/simt.h"

// How near a kernel's output is to an independent computation in double precision.
namespace sparkspan::kernels {

inline double Bf16Value(std::uint16_t bits) {
  return simt::bf16_to_float(bits);
}

// Units in the last place of bf16 between a stored value and the exact one.
inline double Bf16Ulps(std::uint16_t actual, double expected) {
  const double magnitude = std::max(std::fabs(expected), 0x1p-126);
  const double ulp = std::ldexp(1.0, std::ilogb(magnitude) - 7);
  return std::fabs(Bf16Value(actual) - expected) / ulp;
}

inline void ExpectBf16Close(std::span<const std::uint16_t> actual,
                            std::span<const double> expected,
                            double ulps_max = 2) {
  ASSERT_EQ(actual.size(), expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    worst = std::max(worst, Bf16Ulps(actual[i], expected[i]));
  }
  std::printf("worst %.3f of %.0f bf16 ulp\n", worst, ulps_max);
  EXPECT_LE(worst, ulps_max);
}

inline void ExpectRelativeRms(std::span<const float> actual,
                              std::span<const double> expected,
                              double relative_max) {
  ASSERT_EQ(actual.size(), expected.size());
  double error = 0;
  double norm = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    error += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  const double relative = std::sqrt(error / norm);
  std::printf("relative rms %.2g of %.0e\n", relative, relative_max);
  EXPECT_LT(relative, relative_max);
}

inline std::vector<std::uint16_t> RandomBf16(std::size_t count, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<std::uint16_t> values(count);
  std::generate(values.begin(), values.end(), [&] { return simt::float_to_bf16(normal(random)); });
  return values;
}
inline std::vector<float> RandomFloats(std::size_t count, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

// Indices of tests are non-negative ints.
constexpr std::size_t At(int i) {
  return static_cast<std::size_t>(i);
}

}  // namespace sparkspan::kernels
