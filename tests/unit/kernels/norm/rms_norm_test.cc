#include "kernels/norm/rms_norm.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/reference/norm.h"
#include "kernels/reference/quantise.h"
#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

class RmsNorm : public testing::TestWithParam<std::pair<int, int>> {};

TEST_P(RmsNorm, EqualsTheFormulaAndQuantisesWhatItStored) {
  const auto [rows, width] = GetParam();
  const std::size_t size = At(rows) * At(width);
  auto x = RandomBf16(size, 3, 4);
  const auto gain = RandomBf16(At(width), 4);
  std::fill(x.begin(), x.begin() + (width > 128 ? 128 : 4), std::uint16_t{0});  // below the floor
  std::vector<std::uint8_t> quantized(size);
  std::vector<std::uint8_t> scale(size / 128);
  emulator::Report report;
  const auto y = InFiveOrders<std::uint16_t>(
      [&] {
        std::vector<std::uint16_t> out(size);
        EmulateRmsNorm({x.data(),
                        gain.data(),
                        1e-6F,
                        rows,
                        width,
                        out.data(),
                        quantized.data(),
                        scale.data()});
        return out;
      },
      &report);
  ExpectTraffic({"RmsNorm"}, report, {0, 0, 3 * size});
  std::vector<float> expected = Widened(x);
  for (int row = 0; row < rows; ++row) {
    const auto values = RowOf(expected, row, width);
    reference::RmsNorm(values, Widened(gain), 1e-6F, true, values);
  }
  Comparison({"RmsNorm"}, "RmsNorm").Bf16(y, expected);
  std::vector<std::uint8_t> codes(size), scales(size / 128);
  reference::QuantiseE4m3(Widened(y), 128, codes, scales);
  const Comparison quantisation({"RmsNorm"}, "QuantiseE4m3");
  quantisation.Equal(quantized, codes);
  quantisation.Equal(scale, scales);

  emulator::Emulation emulation;
  std::vector<std::uint16_t> alone(At(width));
  EmulateRmsNorm({x.data() + At(rows - 1) * At(width),
                  gain.data(),
                  1e-6F,
                  1,
                  width,
                  alone.data(),
                  nullptr,
                  nullptr});
  EXPECT_EQ(std::memcmp(alone.data(), y.data() + At(rows - 1) * At(width), At(width) * 2), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes,
    RmsNorm,
    testing::Values(std::pair{1, 128}, std::pair{3, 512}, std::pair{2, 1152}, std::pair{2, 4096}));

TEST(Quantize, EachGroupByItsOwnMaximum) {
  constexpr int kRows = 3;
  constexpr int kWidth = 384;
  const auto x = RandomBf16(kRows * kWidth, 8, 30);
  std::vector<std::uint8_t> scale(kRows * kWidth / 128);
  emulator::Report report;
  const auto quantized = InFiveOrders<std::uint8_t>(
      [&] {
        std::vector<std::uint8_t> out(kRows * kWidth);
        EmulateQuantize({x.data(), kRows, kWidth, out.data(), scale.data()});
        return out;
      },
      &report);
  ExpectTraffic({"Quantize"}, report, {0, 0, quantized.size()});
  std::vector<std::uint8_t> codes(x.size()), scales(scale.size());
  reference::QuantiseE4m3(Widened(x), 128, codes, scales);
  const Comparison quantisation({"Quantize"}, "QuantiseE4m3");
  quantisation.Equal(quantized, codes);
  quantisation.Equal(scale, scales);
}

}  // namespace
}  // namespace sparkspan::kernels
