#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/linear/linear.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/simt/emulator.h"
#include "tests/golden_path.h"
#include "tests/unit/kernels/families/bf16_product.h"
#include "tests/unit/kernels/families/golden_tensors.h"
#include "tests/unit/kernels/simt/closeness.h"

namespace sparkspan::kernels {

// The golden vectors of single operations, made with the reference model's code, and the products
// with their weights.
class GoldenOps : public testing::Test {
 protected:
  void SetUp() override {
    const auto folder = tests::GoldenPath("ops");
    if (!folder) {
      GTEST_SKIP() << "the golden data of ops is not here";
    }
    tensors_.Load(*folder / "ops.safetensors");
  }
  void TearDown() override {
    EXPECT_TRUE(emulation_.report().findings.empty()) << emulation_.report().ToString();
  }

  template <class T>
  std::vector<T> Get(const std::string& name) const {
    return tensors_.Get<T>(name);
  }
  std::vector<double> Doubles(const std::string& name) const {
    const auto values = Get<float>(name);
    return {values.begin(), values.end()};
  }

  // y = W x with x [rows, k] quantised as the products take it; W [n, k] in e4m3 or e2m1.
  std::vector<float> Product(WeightFormat format,
                             const std::string& weight_name,
                             const std::string& scale_name,
                             int n,
                             int k,
                             const std::vector<std::uint16_t>& x) const {
    const int rows = static_cast<int>(x.size()) / k;
    std::vector<std::uint8_t> codes(x.size());
    std::vector<std::uint8_t> scales(x.size() / 128);
    EmulateQuantize({x.data(), rows, k, codes.data(), scales.data()});
    std::vector<std::byte> weight(PreparedBytes(format, n, k));
    std::vector<std::byte> weight_scale(PreparedScaleBytes(format, n, k));
    const auto stored_scale = Get<std::uint8_t>(scale_name);
    if (format == WeightFormat::kE4m3) {
      PrepareE4m3(Get<std::uint8_t>(weight_name), n, k, weight);
      std::transform(
          stored_scale.begin(), stored_scale.end(), weight_scale.begin(), [](std::uint8_t byte) {
            return std::byte{byte};
          });
    } else {
      PrepareE2m1(Get<std::uint8_t>(weight_name), n, k, weight);
      PrepareE2m1Scales(stored_scale, n, k, weight_scale);
    }
    std::vector<float> y(At(rows * n));
    EmulateLinear({.weight_format = format,
                   .activation_format = ActivationFormat::kE4m3,
                   .output_format = OutputFormat::kFloat,
                   .weight = weight.data(),
                   .weight_scale = weight_scale.data(),
                   .n = n,
                   .k = k,
                   .activation = codes.data(),
                   .activation_scale = scales.data(),
                   .groups = 1,
                   .output = y.data(),
                   .rows = rows});
    return y;
  }
  // The same unquantised, with W in bf16.
  static std::vector<float> Product(const std::vector<std::uint16_t>& weight,
                                    int k,
                                    const std::vector<std::uint16_t>& x) {
    const int n = static_cast<int>(weight.size()) / k;
    const int rows = static_cast<int>(x.size()) / k;
    return Bf16Product(PreparedBf16(weight, n, k), n, k, x, rows);
  }

  GoldenTensors tensors_;
  emulator::Emulation emulation_;
};

}  // namespace sparkspan::kernels
