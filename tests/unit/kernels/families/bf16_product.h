#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/linear/linear.h"
#include "tests/unit/kernels/simt/closeness.h"

namespace sparkspan::kernels {

// W [n, k] in bf16 as the products read it.
inline std::vector<std::byte> PreparedBf16(const std::vector<std::uint16_t>& weight, int n, int k) {
  std::vector<std::byte> prepared(PreparedBytes(WeightFormat::kBf16, n, k));
  PrepareBf16(weight, n, k, prepared);
  return prepared;
}

// x [rows, k] in bf16 times a prepared W, transposed: [rows, n] in fp32.
inline std::vector<float> Bf16Product(const std::vector<std::byte>& prepared,
                                      int n,
                                      int k,
                                      const std::vector<std::uint16_t>& x,
                                      int rows) {
  std::vector<float> y(At(rows * n));
  EmulateLinear({.weight_format = WeightFormat::kBf16,
                 .activation_format = ActivationFormat::kBf16,
                 .output_format = OutputFormat::kFloat,
                 .weight = prepared.data(),
                 .weight_scale = nullptr,
                 .n = n,
                 .k = k,
                 .activation = x.data(),
                 .activation_scale = nullptr,
                 .groups = 1,
                 .output = y.data(),
                 .rows = rows});
  return y;
}

}  // namespace sparkspan::kernels
