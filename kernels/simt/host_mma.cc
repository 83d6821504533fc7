#include "kernels/simt/host_mma.h"

#include <array>
#include <cmath>

#include "kernels/numerics/formats.h"

namespace sparkspan::kernels {
inline namespace emulated {
namespace simt::internal {
namespace {

constexpr int kLanes = 32;

float Bf16ToFloat(std::uint32_t bits) {
  return numerics::FloatOfBf16(static_cast<std::uint16_t>(bits));
}
float E4m3ToFloat(std::uint32_t bits) {
  return numerics::FloatOfE4m3(static_cast<std::uint8_t>(bits));
}
// The code lies in bits 5 to 2 of its byte.
float E2m1ContainerToFloat(std::uint32_t byte) {
  return numerics::FloatOfE2m1(byte >> 2 & 15U);
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
          numerics::FloatOfUe8m0(argument(ScaleLaneOfRow(row))->scale_a & 0xFF);
    }
    for (int column = 0; column < 8; ++column) {
      column_scale[static_cast<std::size_t>(column)] =
          numerics::FloatOfUe8m0(argument(ScaleLaneOfColumn(column))->scale_b & 0xFF);
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

void CombineScaledBothE2m1(void* const* arguments) {
  Multiply<A16x32Bits8, B32x8Bits8, 32, 8>(
      arguments, true, E2m1ContainerToFloat, E2m1ContainerToFloat);
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
