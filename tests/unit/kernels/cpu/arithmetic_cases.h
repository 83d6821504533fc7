#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "kernels/cpu/arithmetic.h"
#include "kernels/cpu/vector_kernels.h"

namespace sparkspan::kernels::cpu {

inline std::vector<float> RandomFloats(std::size_t count, std::uint32_t seed, float scale = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(count);
  std::generate(values.begin(), values.end(), [&] { return normal(generator); });
  return values;
}

inline bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// The largest difference relative to the largest expected magnitude.
inline double RelativeError(std::span<const float> actual, std::span<const float> expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double largest = 1e-30;
  double error = 0.0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(actual[i]) - expected[i]);
    error = std::isnan(difference) ? 1e30 : std::max(error, difference);
    largest = std::max(largest, std::fabs(static_cast<double>(expected[i])));
  }
  return error / largest;
}

inline void ExpectClose(const std::string& what,
                        std::span<const float> actual,
                        std::span<const float> expected,
                        double tolerance) {
  const double error = RelativeError(actual, expected);
  std::printf("%s: relative error %.1e of %.0e\n", what.c_str(), error, tolerance);
  EXPECT_LE(error, tolerance) << what;
}

// Runs body once per instruction set of this processor and expects the same bits from each.
template <typename Body>
void ExpectEqualOnEveryTarget(const Body& body) {
  const std::vector<std::int64_t> targets = VectorTargets();
  std::vector<float> first;
  for (const std::int64_t target : targets) {
    ForceVectorTarget(target);
    const std::vector<float> result = body();
    EXPECT_FALSE(result.empty());
    if (first.empty()) {
      first = result;
    }
    EXPECT_TRUE(SameBits(result, first)) << "target " << VectorTargetName();
  }
  ForceVectorTarget(0);
}

}  // namespace sparkspan::kernels::cpu
