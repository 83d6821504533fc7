// Shapes that a chip refuses: the emulator must, too, and say why.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <source_location>
#include <string>

#include "kernels/simt/host_launch.h"
#include "kernels/simt/simt.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {
namespace planted {

void leaves_at_once(int* ran) {
  *ran = 1;
}

template <int kBytes>
struct Bytes {
  simt::SharedArray<std::uint8_t, kBytes> value;
};

}  // namespace planted

namespace {

using emulator::Chip;
using emulator::Emulation;
using emulator::Fault;
using testing::AllOf;
using testing::HasSubstr;

constexpr int kKiB = 1024;

// What the emulator says of a launch; empty when it ran.
template <int kSharedBytes>
std::string Refusal(const GridShape& grid, Chip chip = Chip::kSm120) {
  int ran = 0;
  Emulation emulation({.chip = chip});
  emulator::RunGrid({grid,
                     {kSharedBytes, 16},
                     reinterpret_cast<const void*>(&planted::leaves_at_once),
                     std::source_location::current()},
                    [&] { planted::leaves_at_once(&ran); });
  EXPECT_EQ(ran == 1, emulation.report().findings.empty());
  EXPECT_EQ(ran == 0, emulation.report().Has(Fault::kLaunch));
  return emulation.report().ToString();
}

TEST(LaunchLimits, NameTheKernelThePlaceAndTheRemedy) {
  EXPECT_THAT(Refusal<0>({.blocks = {0, 1, 1}}),
              AllOf(HasSubstr("planted::leaves_at_once: launched at launch_limits_test.cc:"),
                    HasSubstr("0 x 1 x 1 blocks"),
                    HasSubstr("launch nothing where nothing is to do")));
}

TEST(LaunchLimits, NoDimensionIsEmpty) {
  EXPECT_EQ(Refusal<0>({.blocks = {1, 1, 1}}), "");
  EXPECT_THAT(Refusal<0>({.blocks = {1, 0, 1}}), HasSubstr("empty"));
  EXPECT_THAT(Refusal<0>({.blocks = {1, 1, 0}}), HasSubstr("empty"));
  EXPECT_THAT(Refusal<0>({.blocks = {-1, 1, 1}}), HasSubstr("empty"));
}

TEST(LaunchLimits, RowsAndLayersOfBlocksEndAt65535) {
  EXPECT_THAT(Refusal<0>({.blocks = {1, 65536, 1}}), HasSubstr("put the large count into x"));
  EXPECT_THAT(Refusal<0>({.blocks = {1, 1, 65536}}), HasSubstr("put the large count into x"));
}

TEST(LaunchLimits, BlocksAreWholeWarpsUpTo1024Threads) {
  EXPECT_EQ(Refusal<0>({.threads = 1024}), "");
  for (const int threads : {0, 16, 33, 1056}) {
    EXPECT_THAT(Refusal<0>({.threads = threads}), HasSubstr("whole warps")) << threads;
  }
}

TEST(LaunchLimits, SharedMemoryEndsWhereTheChipsDoes) {
  EXPECT_EQ(Refusal<99 * kKiB>({}), "");
  EXPECT_THAT(Refusal<99 * kKiB + 16>({}), HasSubstr("sm_120 and sm_121 ends at 101376"));
  EXPECT_EQ(Refusal<227 * kKiB>({}, Chip::kSm90), "");
  EXPECT_THAT(Refusal<227 * kKiB + 16>({}, Chip::kSm90), HasSubstr("sm_90 ends at 232448"));
}

TEST(LaunchLimits, AreThoseOfTheStructThatIsLaunched) {
  int ran = 0;
  Emulation emulation;
  simt::launch<planted::Bytes<200 * kKiB>>(GridShape{}, planted::leaves_at_once, &ran);
  EXPECT_TRUE(emulation.report().Has(Fault::kLaunch));
  EXPECT_EQ(ran, 0);
}

}  // namespace
}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
