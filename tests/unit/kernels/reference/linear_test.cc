#include "kernels/reference/linear.h"

#include "kernels/numerics/formats.h"
#include "kernels/reference/quantise.h"
#include "tests/unit/kernels/reference/ops_golden.h"

namespace sparkspan::kernels::reference {
namespace {

TEST_F(OpsGolden, ScaledLinears) {
  for (const std::string name : {"linear_fp8", "linear_fp4"}) {
    const StoredWeight weight = Weight(name + "/weight", name + "/scale");
    const auto n = static_cast<std::size_t>(weight.rows);
    const auto k = static_cast<std::size_t>(weight.columns);
    std::vector<float> x = Floats(name + "/x");
    const std::size_t rows = x.size() / k;
    std::vector<float> decoded(n * k), plain(rows * n), quantised(rows * n), rounded;
    for (std::size_t i = 0; i < n; ++i) {
      DecodeRow(weight, static_cast<std::int64_t>(i), Row(decoded, i, k));
    }
    EXPECT_EQ(decoded, Floats(name + "/w_dequant"));
    for (std::size_t t = 0; t < rows; ++t) {
      Linear(weight, Row(x, t, k), Row(plain, t, n));
      RoundThroughE4m3(Row(x, t, k), 128);
      Linear(weight, Row(x, t, k), Row(quantised, t, n));
    }
    for (const float value : quantised) {
      rounded.push_back(numerics::RoundToBf16(value));
    }
    ExpectClose(name, plain, Floats(name + "/y_unquantised_x"));
    ExpectClose(name + " quantised", quantised, Floats(name + "/y_exact_quantised_x"));
    EXPECT_EQ(rounded, Floats(name + "/y_bf16"));
  }
}

// A slice of a weight is what the whole gives there, also where it starts inside a scale block.
TEST_F(OpsGolden, SliceInsideScaleBlocks) {
  const StoredWeight whole = Weight("linear_fp8/weight", "linear_fp8/scale");
  StoredWeight slice = whole;
  const std::int64_t first = 96;
  slice.rows = whole.rows - first;
  slice.row_offset = 96;
  slice.data += first * whole.row_bytes();
  std::vector<float> expected(384), actual(384);
  for (std::int64_t row = 0; row < slice.rows; ++row) {
    DecodeRow(whole, first + row, expected);
    DecodeRow(slice, row, actual);
    EXPECT_EQ(actual, expected) << row;
  }
}

}  // namespace
}  // namespace sparkspan::kernels::reference
