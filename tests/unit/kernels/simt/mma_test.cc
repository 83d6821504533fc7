// Fragment layouts against the PTX manual's formulas, and the products of the leaves against plain
// loops over row-major matrices.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/simt/host_launch.h"
#include "kernels/simt/simt.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {
namespace {

// "Matrix fragments for mma.m16n8k16 with floating point type", with groupID and threadID_in_group
// as the manual writes them.
TEST(Fragment, SixteenBitLayoutsAreTheManuals) {
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane >> 2;
    const int thread = lane % 4;
    for (int i = 0; i < 8; ++i) {
      const bool upper = (0 <= i && i < 2) || (4 <= i && i < 6);
      EXPECT_EQ(A16x16Bits16::At(lane, i).row, upper ? group : group + 8);
      EXPECT_EQ(A16x16Bits16::At(lane, i).column,
                i < 4 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8);
    }
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(B16x8Bits16::At(lane, i).row,
                i < 2 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8);
      EXPECT_EQ(B16x8Bits16::At(lane, i).column, group);
      EXPECT_EQ(Accumulator16x8::At(lane, i).row, i < 2 ? group : group + 8);
      EXPECT_EQ(Accumulator16x8::At(lane, i).column, thread * 2 + (i & 1));
    }
  }
}

// "Matrix fragments for mma.m16n8k32".
TEST(Fragment, EightBitLayoutsAreTheManuals) {
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane >> 2;
    const int thread = lane % 4;
    for (int i = 0; i < 16; ++i) {
      const bool upper = (0 <= i && i < 4) || (8 <= i && i < 12);
      EXPECT_EQ(A16x32Bits8::At(lane, i).row, upper ? group : group + 8);
      EXPECT_EQ(A16x32Bits8::At(lane, i).column,
                i < 8 ? thread * 4 + (i & 3) : thread * 4 + (i & 3) + 16);
    }
    for (int i = 0; i < 8; ++i) {
      EXPECT_EQ(B32x8Bits8::At(lane, i).row,
                i < 4 ? thread * 4 + (i & 3) : thread * 4 + (i & 3) + 16);
      EXPECT_EQ(B32x8Bits8::At(lane, i).column, group);
    }
  }
}

// "scaleA: thread-id-a 0 takes lanes with laneid % 4 in {0, 1}; the first holds rows 0-7".
TEST(Fragment, ScaleLanes) {
  EXPECT_EQ(ScaleLaneOfRow(0), 0);
  EXPECT_EQ(ScaleLaneOfRow(8), 1);
  EXPECT_EQ(ScaleLaneOfRow(7), 28);
  EXPECT_EQ(ScaleLaneOfRow(15), 29);
  EXPECT_EQ(ScaleLaneOfColumn(7), 28);
}

struct Tile {
  simt::SharedMatrix<std::uint16_t, 16, 16, 24> a;
  simt::SharedMatrix<std::uint16_t, 16, 16, 24> b_rows;  // [k][column]
};

// A 16 x 16 by 16 x 16 product in bf16 through load_matrix: columns 0-7 and 8-15 of B by one
// transposed load.
void multiply_bf16(float* c, const std::uint16_t* a, const std::uint16_t* b) {
  auto& shared = simt::shared<Tile>();
  for (int i : simt::block_stride(256)) {
    shared.a(i / 16, i % 16) = a[i];
    shared.b_rows(i / 16, i % 16) = b[i];
  }
  simt::sync_block();
  const int lane = simt::lane_index();
  const Words<4> left =
      simt::load_matrix_x4(shared.a.from(lane % 8 + lane / 8 % 2 * 8, lane / 16 * 8));
  const Words<4> right = simt::load_matrix_transposed_x4(
      shared.b_rows.from(lane % 8 + lane / 8 % 2 * 8, lane / 16 * 8));
  for (int half = 0; half < 2; ++half) {
    float sum[4] = {0, 0, 0, 0};
    simt::mma_bf16_m16n8k16(sum, left, Words<2>{{right.word[2 * half], right.word[2 * half + 1]}});
    simt::for_each(
        sum, [&](int row, int column, float value) { c[row * 16 + half * 8 + column] = value; });
  }
}

TEST(Mma, Bf16ThroughLoadMatrix) {
  std::mt19937 random(5);
  std::vector<std::uint16_t> a(256);
  std::vector<std::uint16_t> b(256);
  const auto draw = [&] {
    const auto value = static_cast<float>(static_cast<int>(random() % 17) - 8) / 4;
    return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
  };
  std::generate(a.begin(), a.end(), draw);
  std::generate(b.begin(), b.end(), draw);
  const auto c = InFiveOrders<float>([&] {
    std::vector<float> result(256);
    simt::launch<Tile>(GridShape{}, multiply_bf16, result.data(), a.data(), b.data());
    return result;
  });
  const auto value = [](std::uint16_t bits) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  };
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t column = 0; column < 16; ++column) {
      float sum = 0;  // quarters: exact
      for (std::size_t k = 0; k < 16; ++k) {
        sum += value(a[row * 16 + k]) * value(b[k * 16 + column]);
      }
      EXPECT_EQ(c[row * 16 + column], sum);
    }
  }
}

enum class Kind { kE4m3, kScaledE4m3, kScaledE2m1, kScaledBothE2m1 };

// a: [16][32] bytes (containers for e2m1), b: [8][32] bytes, scales per row and column.
void multiply_bytes(float* c,
                    const std::uint8_t* a,
                    const std::uint8_t* b,
                    const std::uint8_t* scale_a,
                    const std::uint8_t* scale_b,
                    Kind kind) {
  const int lane = simt::lane_index();
  Words<4> left = {};
  Words<2> right = {};
  for (int i = 0; i < 16; ++i) {
    const Cell cell = A16x32Bits8::At(lane, i);
    left.word[i / 4] |= static_cast<std::uint32_t>(a[cell.row * 32 + cell.column]) << (i % 4 * 8);
  }
  for (int i = 0; i < 8; ++i) {
    const Cell cell = B32x8Bits8::At(lane, i);
    right.word[i / 4] |= static_cast<std::uint32_t>(b[cell.column * 32 + cell.row]) << (i % 4 * 8);
  }
  // Lanes that the instruction does not read hold nonsense.
  const std::uint32_t sa = lane % 4 < 2 ? scale_a[lane / 4 + 8 * (lane % 4)] : 0xEE;
  const std::uint32_t sb = lane % 4 == 0 ? scale_b[lane / 4] : 0xEE;
  float sum[4] = {1, 1, 1, 1};
  if (kind == Kind::kE4m3) {
    simt::mma_e4m3_m16n8k32(sum, left, right);
  } else if (kind == Kind::kScaledE4m3) {
    simt::mma_scaled_m16n8k32(sum, left, right, sa, sb, simt::E4m3Operand{});
  } else if (kind == Kind::kScaledBothE2m1) {
    simt::mma_scaled_e2m1_m16n8k32(sum, left, right, sa, sb);
  } else {
    simt::mma_scaled_m16n8k32(sum, left, right, sa, sb, simt::E2m1Operand{});
  }
  simt::for_each(sum, [&](int row, int column, float value) { c[row * 8 + column] = value; });
}

float E4m3(std::uint8_t byte) {
  const int exponent = byte >> 3 & 15;
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(byte & 7), -9)
                              : std::ldexp(static_cast<float>(8 + (byte & 7)), exponent - 10);
  return (byte & 0x80) != 0 ? -magnitude : magnitude;
}

float E2m1Container(std::uint8_t byte) {
  constexpr float kMagnitudes[8] = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6};
  const float magnitude = kMagnitudes[byte >> 2 & 7];
  return (byte & 0x20) != 0 ? -magnitude : magnitude;
}

class EightBit : public testing::TestWithParam<Kind> {};

TEST_P(EightBit, ProductsAndScales) {
  const Kind kind = GetParam();
  const bool a_is_e2m1 = kind == Kind::kScaledE2m1 || kind == Kind::kScaledBothE2m1;
  const bool b_is_e2m1 = kind == Kind::kScaledBothE2m1;
  std::mt19937 random(6);
  std::vector<std::uint8_t> a(16 * 32);
  std::vector<std::uint8_t> b(8 * 32);
  std::vector<std::uint8_t> sa(16);
  std::vector<std::uint8_t> sb(8);
  // Exponents within one binade of each other keep every sum exact.
  const auto draw = [&](bool e2m1) {
    return e2m1 ? static_cast<std::uint8_t>((random() % 16) << 2)
                : static_cast<std::uint8_t>(((random() % 2) << 7) | ((6 + random() % 2) << 3) |
                                            (random() % 8));
  };
  const auto draw_scale = [&] { return static_cast<std::uint8_t>(120 + random() % 9); };
  std::generate(a.begin(), a.end(), [&] { return draw(a_is_e2m1); });
  std::generate(b.begin(), b.end(), [&] { return draw(b_is_e2m1); });
  std::generate(sa.begin(), sa.end(), draw_scale);
  std::generate(sb.begin(), sb.end(), draw_scale);
  const auto c = InFiveOrders<float>([&] {
    std::vector<float> result(128);
    simt::launch<simt::NoShared>(
        GridShape{}, multiply_bytes, result.data(), a.data(), b.data(), sa.data(), sb.data(), kind);
    return result;
  });
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t column = 0; column < 8; ++column) {
      float sum = 0;
      for (std::size_t k = 0; k < 32; ++k) {
        const std::uint8_t left = a[row * 32 + k];
        const std::uint8_t right = b[column * 32 + k];
        sum += (a_is_e2m1 ? E2m1Container(left) : E4m3(left)) *
               (b_is_e2m1 ? E2m1Container(right) : E4m3(right));
      }
      const int exponent = kind == Kind::kE4m3 ? 0 : sa[row] + sb[column] - 254;
      EXPECT_EQ(c[row * 8 + column], 1.0F + std::ldexp(sum, exponent));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Mma,
    EightBit,
    testing::Values(Kind::kE4m3, Kind::kScaledE4m3, Kind::kScaledE2m1, Kind::kScaledBothE2m1));

TEST(Mma, PackedNibblesUnpackToContainers) {
  const Words<2> words = simt::unpack_e2m1(0xFEDCBA98U);
  EXPECT_EQ(words.word[0], 0x08U << 2 | 0x0AU << 10 | 0x0CU << 18 | 0x0EU << 26);
  EXPECT_EQ(words.word[1], 0x09U << 2 | 0x0BU << 10 | 0x0DU << 18 | 0x0FU << 26);
}

}  // namespace
}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
