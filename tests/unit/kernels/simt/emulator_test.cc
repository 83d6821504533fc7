// One planted mistake of each kind, each of which the emulator must report; and the same kernel
// without the mistake, of which it must report nothing.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "kernels/simt/host_launch.h"
#include "kernels/simt/simt.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {
namespace {

using emulator::Emulation;
using emulator::Fault;
using testing::HasSubstr;

constexpr int kThreads = 64;

struct Floats {
  simt::SharedArray<float, kThreads> values;
};

// Each thread takes its neighbour's value; the barrier between is what the flag removes.
void take_neighbour(float* out, const float* in, bool with_barrier) {
  auto& shared = simt::shared<Floats>();
  const int i = simt::thread_index();
  shared.values[i] = in[i];
  if (with_barrier) {
    simt::sync_block();
  }
  out[i] = shared.values[(i + 1) % kThreads];
}

TEST(Emulator, NeighbourExchangeIsCleanInEveryOrder) {
  std::vector<float> in(kThreads);
  std::iota(in.begin(), in.end(), 1.0F);
  const auto out = InFiveOrders<float>([&] {
    std::vector<float> result(kThreads);
    simt::launch<Floats>(
        GridShape{.threads = kThreads}, take_neighbour, result.data(), in.data(), true);
    return result;
  });
  EXPECT_EQ(out[0], 2.0F);
  EXPECT_EQ(out[63], 1.0F);
}

TEST(Emulator, MissingBarrierIsARaceInEveryOrder) {
  std::vector<float> in(kThreads, 1.0F);
  std::vector<float> out(kThreads);
  for (const std::uint64_t order : {0, 1, 2, 3, 4}) {
    Emulation emulation({.lane_order = order});
    simt::launch<Floats>(
        GridShape{.threads = kThreads}, take_neighbour, out.data(), in.data(), false);
    EXPECT_TRUE(emulation.report().Has(Fault::kRace)) << order;
  }
}

TEST(Emulator, DeletingABarrierByItsPlaceIsAsGoodAsDeletingIt) {
  std::vector<float> in(kThreads, 1.0F);
  std::vector<float> out(kThreads);
  Emulation list;
  simt::launch<Floats>(GridShape{.threads = kThreads}, take_neighbour, out.data(), in.data(), true);
  ASSERT_EQ(list.report().ordering_sites.size(), 1U);
  Emulation emulation(
      {.lane_order = 0, .deleted_site = list.report().ordering_sites.begin()->first});
  simt::launch<Floats>(GridShape{.threads = kThreads}, take_neighbour, out.data(), in.data(), true);
  EXPECT_TRUE(emulation.report().Has(Fault::kRace));
}

void read_uninitialised(float* out) {
  out[simt::thread_index()] = simt::shared<Floats>().values[simt::thread_index()];
}

TEST(Emulator, SharedMemoryStartsAsNan) {
  std::vector<float> out(kThreads);
  Emulation emulation;
  simt::launch<Floats>(GridShape{.threads = kThreads}, read_uninitialised, out.data());
  EXPECT_NE(out[5], out[5]);
}

void barrier_in_a_branch() {
  if (simt::thread_index() < 40) {
    simt::sync_block();
  }
  simt::sync_block();
}

TEST(Emulator, BarrierInABranchNamesTheLanes) {
  Emulation emulation;
  simt::launch<simt::NoShared>(GridShape{.threads = kThreads}, barrier_in_a_branch);
  ASSERT_TRUE(emulation.report().Has(Fault::kDivergence));
  EXPECT_THAT(emulation.report().ToString(), HasSubstr("lanes 0-39 wait at sync_block"));
}

void shuffle_without_a_lane() {
  if (simt::lane_index() == 31) {
    return;
  }
  simt::shuffle_xor(1.0F, 1);
}

TEST(Emulator, ShuffleThatALaneNeverReaches) {
  Emulation emulation;
  simt::launch<simt::NoShared>(GridShape{.threads = 32}, shuffle_without_a_lane);
  ASSERT_TRUE(emulation.report().Has(Fault::kDivergence));
  EXPECT_THAT(emulation.report().ToString(), HasSubstr("lane 31 left the kernel"));
}

void lanes_that_left_are_not_waited_for(int* out) {
  if (simt::thread_index() >= 32) {
    return;
  }
  simt::sync_block();
  out[simt::thread_index()] = 1;
}

TEST(Emulator, BlockBarrierCountsTheLiveOnly) {
  std::vector<int> out(32);
  Emulation emulation;
  simt::launch<simt::NoShared>(
      GridShape{.threads = kThreads}, lanes_that_left_are_not_waited_for, out.data());
  EXPECT_TRUE(emulation.report().findings.empty()) << emulation.report().ToString();
  EXPECT_EQ(std::accumulate(out.begin(), out.end(), 0), 32);
}

void exchange_in_a_warp(float* out, bool with_sync) {
  auto& shared = simt::shared<Floats>();
  shared.values[simt::thread_index()] = static_cast<float>(simt::thread_index());
  simt::shuffle_xor(1, 1);  // orders nothing
  if (with_sync) {
    simt::sync_warp();
  }
  out[simt::thread_index()] = shared.values[simt::thread_index() ^ 1];
}

TEST(Emulator, AShuffleIsNoMemoryBarrierButSyncWarpIs) {
  std::vector<float> out(32);
  Emulation without;
  simt::launch<Floats>(GridShape{.threads = 32}, exchange_in_a_warp, out.data(), false);
  EXPECT_TRUE(without.report().Has(Fault::kRace));
  const auto with = InFiveOrders<float>([] {
    std::vector<float> result(32);
    simt::launch<Floats>(GridShape{.threads = 32}, exchange_in_a_warp, result.data(), true);
    return result;
  });
  EXPECT_EQ(with[6], 7.0F);
}

void meet_at_named_barriers(float* out, int threads) {
  auto& shared = simt::shared<Floats>();
  const int i = simt::thread_index();
  shared.values[i] = static_cast<float>(i);
  if (simt::warp_index() < 2) {
    simt::named_barrier(1, threads);
    out[i] = shared.values[63 - i];
  }
}

TEST(Emulator, NamedBarrierOrdersThoseWhoMeet) {
  auto out = InFiveOrders<float>([] {
    std::vector<float> result(kThreads);
    simt::launch<Floats>(GridShape{.threads = kThreads}, meet_at_named_barriers, result.data(), 64);
    return result;
  });
  EXPECT_EQ(out[3], 60.0F);
  Emulation stuck;
  simt::launch<Floats>(GridShape{.threads = kThreads}, meet_at_named_barriers, out.data(), 96);
  EXPECT_TRUE(stuck.report().Has(Fault::kDivergence));
}

void write_past_the_end() {
  *(simt::shared<Floats>().values.from(63).address + 1) = 1.0F;
}
void index_past_the_end() {
  simt::shared<Floats>().values[kThreads] = 1.0F;
}

TEST(Emulator, WritesOutsideSharedMemory) {
  Emulation zone;
  simt::launch<Floats>(GridShape{.threads = 32}, write_past_the_end);
  EXPECT_TRUE(zone.report().Has(Fault::kRedZone));
  Emulation bounds;
  simt::launch<Floats>(GridShape{.threads = 32}, index_past_the_end);
  EXPECT_TRUE(bounds.report().Has(Fault::kBounds));
}

void load_misaligned(const float* in) {
  simt::load_vector<4>(in + 1);
}
void load_shared_misaligned() {
  simt::load_shared<4>(simt::shared<Floats>().values.from(2));
}

TEST(Emulator, VectorAccessesMustBeAligned) {
  alignas(16) float in[8] = {};
  Emulation global;
  simt::launch<simt::NoShared>(GridShape{}, load_misaligned, &in[0]);
  EXPECT_TRUE(global.report().Has(Fault::kAlignment));
  Emulation local;
  simt::launch<Floats>(GridShape{}, load_shared_misaligned);
  EXPECT_TRUE(local.report().Has(Fault::kAlignment));
}

struct Square {
  simt::SharedMatrix<float, 32, 32> tight;
  simt::SharedMatrix<float, 32, 32, 33> padded;
};

void walk_columns() {
  auto& shared = simt::shared<Square>();
  for (int column = 0; column < 4; ++column) {
    shared.tight(simt::lane_index(), column) = 0;
    shared.padded(simt::lane_index(), column) = 0;
  }
}

TEST(Emulator, BankConflictsAreCountedByLine) {
  Emulation emulation;
  simt::launch<Square>(GridShape{}, walk_columns);
  // 32 rows of 32 words: one bank; 31 wavefronts more than one, in each of four columns. The padded
  // matrix has none.
  ASSERT_EQ(emulation.report().bank_conflicts.size(), 1U);
  EXPECT_EQ(emulation.report().bank_conflicts.begin()->second, 4U * 31U);
}

struct Partial {
  simt::SharedArray<float, 2> sums;
};

void sum_a_block(float* out, const float* in) {
  auto& partial = simt::shared<Partial>().sums;
  float sum = 0;
  for (int i : simt::block_stride(100)) {
    sum += in[i];
  }
  // One after the other through the same array, which each leaves free.
  const float total = simt::block_sum(sum, partial);
  const float largest = simt::block_max(sum, partial);
  const float least = -simt::block_max(-sum, partial);
  out[simt::thread_index()] = total + largest + least;
}

TEST(Emulator, ReductionsGiveEveryLaneTheSameBits) {
  std::vector<float> in(100);
  std::iota(in.begin(), in.end(), 0.0F);
  const auto out = InFiveOrders<float>([&] {
    std::vector<float> result(kThreads);
    simt::launch<Partial>(GridShape{.threads = kThreads}, sum_a_block, result.data(), in.data());
    return result;
  });
  // Of the per-thread sums thread 35 holds the largest, 35 + 99, and thread 36 the least.
  EXPECT_EQ(out, std::vector<float>(kThreads, 4950.0F + 134.0F + 36.0F));
}

void vote_and_shuffle(int* out) {
  const int lane = simt::lane_index();
  const std::uint32_t votes = simt::ballot(lane % 3 == 0);
  out[lane] = simt::count_bits(votes) + simt::shuffle_down(lane, 1) + simt::shuffle_from(lane, 5) +
              simt::shuffle_up(lane, 2) + (simt::any(lane == 7) ? 1000 : 0);
}

TEST(Emulator, VotesAndShuffles) {
  const auto out = InFiveOrders<int>([] {
    std::vector<int> result(32);
    simt::launch<simt::NoShared>(GridShape{}, vote_and_shuffle, result.data());
    return result;
  });
  EXPECT_EQ(out[4], 11 + 5 + 5 + 2 + 1000);
  EXPECT_EQ(out[31], 11 + 31 + 5 + 29 + 1000);
}

}  // namespace
}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
