#include "kernels/reference/linear.h"

#include <cstring>
#include <vector>

#include "kernels/numerics/formats.h"

namespace sparkspan::kernels::reference {
namespace {

float Element(const StoredWeight& weight, std::int64_t row, std::int64_t column) {
  const std::byte* data = weight.data + row * weight.row_bytes();
  switch (weight.format) {
    case StoredFormat::kF32: {
      float value;
      std::memcpy(&value, data + column * 4, sizeof(value));
      return value;
    }
    case StoredFormat::kBf16: {
      std::uint16_t code;
      std::memcpy(&code, data + column * 2, sizeof(code));
      return numerics::FloatOfBf16(code);
    }
    case StoredFormat::kE4m3: {
      const std::int64_t block = (weight.row_offset + row) / kScaleBlock * weight.scale_columns +
                                 (weight.column_offset + column) / kScaleBlock;
      return numerics::FloatOfE4m3(static_cast<std::uint8_t>(data[column])) *
             numerics::FloatOfUe8m0(weight.scales[block]);
    }
    case StoredFormat::kE2m1: {
      const auto byte = static_cast<std::uint32_t>(data[column / 2]);
      const std::uint32_t code = byte >> (column % 2 * 4) & 0xFu;
      return numerics::FloatOfE2m1(code) *
             numerics::FloatOfUe8m0(
                 weight.scales[row * weight.scale_columns + column / kNibbleScaleGroup]);
    }
  }
  return 0.0f;
}

}  // namespace

void DecodeRow(const StoredWeight& weight, std::int64_t row, std::span<float> out) {
  for (std::int64_t column = 0; column < weight.columns; ++column) {
    out[static_cast<std::size_t>(column)] = Element(weight, row, column);
  }
}

void Linear(const StoredWeight& weight, std::span<const float> x, std::span<float> y) {
  std::vector<float> row(static_cast<std::size_t>(weight.columns));
  for (std::int64_t n = 0; n < weight.rows; ++n) {
    DecodeRow(weight, n, row);
    double sum = 0.0;
    for (std::size_t k = 0; k < row.size(); ++k) {
      sum += static_cast<double>(row[k]) * static_cast<double>(x[k]);
    }
    y[static_cast<std::size_t>(n)] = static_cast<float>(sum);
  }
}

}  // namespace sparkspan::kernels::reference
