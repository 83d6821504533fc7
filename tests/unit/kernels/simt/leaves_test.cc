#include "tests/unit/kernels/simt/leaves.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/simt/fragment.h"
#include "kernels/simt/simt.h"
#include "tests/unit/kernels/simt/closeness.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
namespace {

TEST(Leaves, OfWarpsAndBlocks) {
  std::vector<float> in(kLeafThreads);
  for (int i = 0; i < kLeafThreads; ++i) {
    in[At(i)] = static_cast<float>(i * 29 % kLeafThreads) - 20;
  }
  in[At(40)] = 41;  // of the second warp alone
  std::replace_if(
      in.begin(), in.begin() + 32, [](float value) { return value > 40; }, 1.0F);
  std::vector<float> powers(kLeafThreads);
  std::vector<std::int32_t> any(kLeafThreads), took(kLeafThreads), global;
  const auto moved = InFiveOrders<float>([&] {
    std::vector<float> out(At(kLeafThreads * 4));
    global.assign(2, 0);
    EmulateWarpLeaves({in.data(),
                       out.data(),
                       out.data() + kLeafThreads,
                       out.data() + kLeafThreads * 2,
                       powers.data(),
                       out.data() + kLeafThreads * 3,
                       any.data(),
                       global.data(),
                       took.data()});
    return out;
  });
  const float largest = *std::max_element(in.begin(), in.end());
  for (int i = 0; i < kLeafThreads; ++i) {
    EXPECT_EQ(moved[At(i)], in[At(i % 32 < 29 ? i + 3 : i)]);
    EXPECT_EQ(moved[At(kLeafThreads + i)], in[At(i / 32 * 32 + 31 - i % 32)]);
    EXPECT_EQ(moved[At(kLeafThreads * 2 + i)], in[At(kLeafThreads - 1 - i)]);
    EXPECT_EQ(moved[At(kLeafThreads * 3 + i)], largest);
    EXPECT_EQ(any[At(i)], i / 32);
    const float power = std::ldexp(1.0F, static_cast<int>(in[At(i)]));
    EXPECT_NEAR(powers[At(i)], power, power * 0x1p-22F);
  }
  EXPECT_EQ(global, (std::vector<std::int32_t>{kLeafThreads - 1, -1}));
  EXPECT_EQ(std::count(took.begin(), took.end(), 1), 1);
}

TEST(Leaves, BulkCopiesInTwoPhases) {
  const auto in = RandomFloats(At(2 * kLeafTile), 41);
  const auto out = InFiveOrders<float>([&] {
    std::vector<float> reversed(in.size());
    EmulateBulkTiles({in.data(), reversed.data()});
    return reversed;
  });
  for (int i = 0; i < 2 * kLeafTile; ++i) {
    EXPECT_EQ(out[At(i)], in[At(i / kLeafTile * kLeafTile + kLeafTile - 1 - i % kLeafTile)]);
  }
}

TEST(Leaves, E4m3ProductOfExactSums) {
  // Multiples of an eighth up to two: every sum is exact, whatever its order.
  std::mt19937 random(42);
  const auto draw = [&] {
    return static_cast<std::uint8_t>((random() % 2) << 7 | (6 + random() % 2) << 3 | random() % 8);
  };
  std::vector<std::uint8_t> a(16 * 32), b(8 * 32);
  std::generate(a.begin(), a.end(), draw);
  std::generate(b.begin(), b.end(), draw);
  std::vector<std::uint32_t> a_words(32 * 4), b_words(32 * 2);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 16; ++i) {
      const Cell cell = A16x32Bits8::At(lane, i);
      a_words[At(lane * 4 + i / 4)] |= std::uint32_t{a[At(cell.row * 32 + cell.column)]}
                                       << (i % 4 * 8);
    }
    for (int i = 0; i < 8; ++i) {
      const Cell cell = B32x8Bits8::At(lane, i);
      b_words[At(lane * 2 + i / 4)] |= std::uint32_t{b[At(cell.column * 32 + cell.row)]}
                                       << (i % 4 * 8);
    }
  }
  const auto c = InFiveOrders<float>([&] {
    std::vector<float> result(16 * 8);
    EmulateE4m3Product({a_words.data(), b_words.data(), result.data()});
    return result;
  });
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float sum = 0;
      for (int k = 0; k < 32; ++k) {
        sum +=
            simt::e4m3_to_float(a[At(row * 32 + k)]) * simt::e4m3_to_float(b[At(column * 32 + k)]);
      }
      EXPECT_EQ(c[At(row * 8 + column)], sum);
    }
  }
}

}  // namespace
}  // namespace sparkspan::kernels
