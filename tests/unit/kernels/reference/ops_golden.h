#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "kernels/stored_weight.h"
#include "tests/golden_path.h"
#include "tests/golden_tensors.h"

// The operator vectors of the golden data and the measures their README names.
namespace sparkspan::kernels::reference {

class OpsGolden : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto folder = tests::GoldenPath("ops");
    if (!folder) {
      GTEST_SKIP() << "no golden data 'ops'";
    }
    static const auto* shared = new tests::GoldenTensors(*folder / "ops.safetensors");
    golden_ = shared;
  }

  std::vector<float> Floats(const std::string& name) const { return golden_->Floats(name); }
  const tests::GoldenTensor& Tensor(const std::string& name) const { return (*golden_)[name]; }

  // A weight and, when it has one, its scale.
  StoredWeight Weight(const std::string& name, const std::string& scale = "") const {
    const tests::GoldenTensor& tensor = Tensor(name);
    StoredWeight weight;
    weight.rows = tensor.shape[0];
    weight.columns = tensor.shape[1];
    weight.data = tensor.bytes.data();
    weight.format = tensor.dtype == "F32"    ? StoredFormat::kF32
                    : tensor.dtype == "BF16" ? StoredFormat::kBf16
                    : tensor.dtype == "I8"   ? StoredFormat::kE2m1
                                             : StoredFormat::kE4m3;
    if (weight.format == StoredFormat::kE2m1) {
      weight.columns *= 2;
    }
    if (!scale.empty()) {
      weight.scales = reinterpret_cast<const std::uint8_t*>(Tensor(scale).bytes.data());
      weight.scale_columns = Tensor(scale).shape[1];
    }
    return weight;
  }

  const tests::GoldenTensors* golden_ = nullptr;
};

// Largest difference over the largest expected magnitude, in fp32 arithmetic without rounding.
inline void ExpectClose(const std::string& what,
                        std::span<const float> actual,
                        std::span<const float> expected,
                        double tolerance = 1e-5) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 1e-30;
  double error = 0.0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(std::isnan(actual[i]), std::isnan(expected[i])) << what << " " << i;
    largest = std::max(largest, std::fabs(static_cast<double>(expected[i])));
    error = std::max(error, std::fabs(static_cast<double>(actual[i]) - expected[i]));
  }
  std::printf("%s: relative error %.2e of %.0e\n", what.c_str(), error / largest, tolerance);
  EXPECT_LE(error / largest, tolerance) << what;
}

// Root mean square of the difference over that of the expected values, for rounded results.
inline void ExpectRelativeRms(const std::string& what,
                              std::span<const float> actual,
                              std::span<const float> expected,
                              double tolerance = 4e-3) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double squares = 1e-60;
  double errors = 0.0;
  std::size_t unequal = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double difference = static_cast<double>(actual[i]) - expected[i];
    errors += difference * difference;
    squares += static_cast<double>(expected[i]) * expected[i];
    unequal += actual[i] != expected[i] ? 1 : 0;
  }
  const double error = std::sqrt(errors / squares);
  std::printf("%s: relative rms %.2e of %.0e, %zu of %zu not bit-equal\n",
              what.c_str(),
              error,
              tolerance,
              unequal,
              actual.size());
  EXPECT_LE(error, tolerance) << what;
}

inline std::span<float> Row(std::vector<float>& values, std::size_t row, std::size_t width) {
  return std::span<float>(values).subspan(row * width, width);
}
inline std::span<const float> Row(const std::vector<float>& values,
                                  std::size_t row,
                                  std::size_t width) {
  return std::span<const float>(values).subspan(row * width, width);
}

}  // namespace sparkspan::kernels::reference
