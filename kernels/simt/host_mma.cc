#include "kernels/simt/host_mma.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace sparkspan::kernels {
inline namespace emulated {
namespace simt::internal {
namespace {

constexpr int kLanes = 32;

float Bf16ToFloat(std::uint32_t bits) {
  return std::bit_cast<float>(bits << 16);
}

float E4m3ToFloat(std::uint32_t bits) {
  const int exponent = static_cast<int>(bits >> 3 & 15);
  const int mantissa = static_cast<int>(bits & 7);
  if ((bits & 0x7F) == 0x7F) {
    return std::numeric_limits<float>::quiet_NaN();
  }
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(mantissa), -9)
                              : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

// The code lies in bits 5 to 2 of its byte.
float E2m1ContainerToFloat(std::uint32_t byte) {
  constexpr std::array<float, 8> kMagnitudes = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6};
  const float magnitude = kMagnitudes[byte >> 2 & 7];
  return (byte & 0x20) != 0 ? -magnitude : magnitude;
}

// 0xFF stands for NaN.
float Ue8m0ToFloat(std::uint32_t byte) {
  return byte == 0xFF ? std::numeric_limits<float>::quiet_NaN()
                      : std::ldexp(1.0F, static_cast<int>(byte) - 127);
}

std::uint32_t Element(const std::uint32_t* words, int i, int bits) {
  const int per_word = 32 / bits;
  return words[i / per_word] >> (i % per_word * bits) & ((1U << bits) - 1);
}

template <class LayoutA, class LayoutB, int k_size, int bits, class ToA, class ToB>
void Multiply(void* const* arguments, bool scaled, ToA to_a, ToB to_b) {
  std::array<std::array<float, k_size>, 16> a{};
  std::array<std::array<float, k_size>, 8> b{};  // [column][k]
  std::array<float, 16> row_scale{};
  std::array<float, 8> column_scale{};
  row_scale.fill(1);
  column_scale.fill(1);
  const auto argument = [&](int lane) { return static_cast<MmaArgument*>(arguments[lane]); };
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < LayoutA::kElements; ++i) {
      const Cell cell = LayoutA::At(lane, i);
      a[static_cast<std::size_t>(cell.row)][static_cast<std::size_t>(cell.column)] =
          to_a(Element(argument(lane)->a, i, bits));
    }
    for (int i = 0; i < LayoutB::kElements; ++i) {
      const Cell cell = LayoutB::At(lane, i);
      b[static_cast<std::size_t>(cell.column)][static_cast<std::size_t>(cell.row)] =
          to_b(Element(argument(lane)->b, i, bits));
    }
  }
  if (scaled) {
    for (int row = 0; row < 16; ++row) {
      row_scale[static_cast<std::size_t>(row)] =
          Ue8m0ToFloat(argument(ScaleLaneOfRow(row))->scale_a & 0xFF);
    }
    for (int column = 0; column < 8; ++column) {
      column_scale[static_cast<std::size_t>(column)] =
          Ue8m0ToFloat(argument(ScaleLaneOfColumn(column))->scale_b & 0xFF);
    }
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < Accumulator16x8::kElements; ++i) {
      const Cell cell = Accumulator16x8::At(lane, i);
      const auto row = static_cast<std::size_t>(cell.row);
      const auto column = static_cast<std::size_t>(cell.column);
      float& c = argument(lane)->c[i];
      float sum = scaled ? 0.0F : c;
      for (std::size_t k = 0; k < k_size; ++k) {
        sum += a[row][k] * b[column][k];
      }
      c = scaled ? std::fma(sum, row_scale[row] * column_scale[column], c) : sum;
    }
  }
}

}  // namespace

void CombineBf16(void* const* arguments) {
  Multiply<A16x16Bits16, B16x8Bits16, 16, 16>(arguments, false, Bf16ToFloat, Bf16ToFloat);
}
void CombineE4m3(void* const* arguments) {
  Multiply<A16x32Bits8, B32x8Bits8, 32, 8>(arguments, false, E4m3ToFloat, E4m3ToFloat);
}
void CombineScaledE4m3(void* const* arguments) {
  Multiply<A16x32Bits8, B32x8Bits8, 32, 8>(arguments, true, E4m3ToFloat, E4m3ToFloat);
}
void CombineScaledE2m1(void* const* arguments) {
  Multiply<A16x32Bits8, B32x8Bits8, 32, 8>(arguments, true, E2m1ContainerToFloat, E4m3ToFloat);
}

void CombineMatrix(void* const* arguments) {
  for (int lane = 0; lane < kLanes; ++lane) {
    auto* to = static_cast<MatrixArgument*>(arguments[lane]);
    for (int matrix = 0; matrix < 4; ++matrix) {
      const auto* from = static_cast<MatrixArgument*>(arguments[matrix * 8 + lane / 4]);
      std::memcpy(&to->result.word[matrix],
                  static_cast<const std::byte*>(from->row) + lane % 4 * 4,
                  sizeof(std::uint32_t));
    }
  }
}

void CombineMatrixTransposed(void* const* arguments) {
  for (int lane = 0; lane < kLanes; ++lane) {
    auto* to = static_cast<MatrixArgument*>(arguments[lane]);
    for (int matrix = 0; matrix < 4; ++matrix) {
      std::uint32_t word = 0;
      for (int half = 0; half < 2; ++half) {
        const int row = lane % 4 * 2 + half;
        const auto* from = static_cast<MatrixArgument*>(arguments[matrix * 8 + row]);
        std::uint16_t element = 0;
        std::memcpy(
            &element, static_cast<const std::byte*>(from->row) + lane / 4 * 2, sizeof(element));
        word |= static_cast<std::uint32_t>(element) << (16 * half);
      }
      to->result.word[matrix] = word;
    }
  }
}

}  // namespace simt::internal
}  // namespace emulated
}  // namespace sparkspan::kernels
