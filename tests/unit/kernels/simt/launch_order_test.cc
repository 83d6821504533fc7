// Order between launches and between the blocks of one: one planted mistake of each kind, with the
// kernel, the place and the remedy in what the emulator says of it; and the careful kernel, of
// which it says nothing.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/simt/host_launch.h"
#include "kernels/simt/simt.h"
#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

// Not in the unnamed namespace: the program exports them, so that findings can name them.
namespace planted {

constexpr int kLanes = 32;
constexpr int kThreads = 64;

struct OneInt {
  simt::SharedArray<int, 1> value;
};
struct Staged {
  simt::SharedArray<float, 4 * kLanes> values;
  simt::Mbarrier full;
};

enum class Early {
  kNothing,
  kLoad,
  kStreamingLoad,
  kElementLoad,
  kStore,
  kElementStore,
  kReduction,
  kAtomic,
  kAsyncCopy,
  kBulkCopy,
};

// Does one thing before it waits for the launch before.
void touches_early(float* out, const float* in, std::int32_t* counter, Early early) {
  auto& shared = simt::shared<Staged>();
  const int lane = simt::lane_index();
  simt::dependency_trigger();
  if (early == Early::kLoad) {
    simt::load_vector<4>(in);
  } else if (early == Early::kStreamingLoad) {
    simt::load_streaming<4>(in);
  } else if (early == Early::kElementLoad) {
    simt::load(in + lane);
  } else if (early == Early::kStore) {
    simt::store_vector<4>(out + 4 * lane, {});
  } else if (early == Early::kElementStore) {
    simt::store(out + lane, 1.0F);
  } else if (early == Early::kReduction) {
    simt::reduce_add(counter, 1);
  } else if (early == Early::kAtomic) {
    simt::fence_device();
    simt::atomic_add(counter, 1);
  } else if (early == Early::kAsyncCopy) {
    simt::async_copy(shared.values.from(4 * lane), in);
    simt::async_commit();
    simt::async_wait<0>();
  } else if (early == Early::kBulkCopy && lane == 0) {
    shared.full.init(1);
    simt::bulk_copy(shared.values.from(0), in, 16, shared.full);
    shared.full.arrive_expect(16);
    shared.full.wait(0);
  }
  simt::dependency_wait();
}

void never_waits() {}

// Asks for weights before it waits and uses them after.
void loads_weights_early(float* out, const float* weights) {
  const int lane = simt::lane_index();
  simt::prefetch_l2(weights, 512);
  const Words<4> weight = simt::load_weight<4>(weights + 4 * lane);
  const Words<1> scale = simt::load_weight_scale<1>(weights);
  simt::dependency_wait();
  simt::store(out + lane, simt::float_of_bits(weight.word[0]) + simt::float_of_bits(scale.word[0]));
}

enum class Care {
  kAll,
  kNoFence,
  kFencesBeforeTheBarrier,
  kOnlyOthersFence,
  kNoBarrier,
  kStoresAfterTheFence,
  kNoFenceOfReader,
  kReaderFencesElsewhere,
  kNoBarrierOfReader,
  kReadsUntold,
};

// Every block stores a row; the one that arrives last adds the rows up.
void sums_rows(float* sum, float* rows, std::int32_t* counter, Care care) {
  auto& is_last = simt::shared<OneInt>().value;
  const int lane = simt::thread_index();
  const int blocks = simt::grid_blocks();
  const float* neighbours_row = rows + (simt::block_index() + 1) % blocks * kThreads + lane;
  simt::store(rows + simt::block_index() * kThreads + lane, static_cast<float>(lane));
  if (care == Care::kReadsUntold) {
    simt::load(neighbours_row);
  }
  if (care == Care::kFencesBeforeTheBarrier || (care == Care::kOnlyOthersFence && lane != 0)) {
    simt::fence_device();
  }
  if (care != Care::kNoBarrier) {
    simt::sync_block();
  }
  if (lane == 0) {
    if (care != Care::kNoFence && care != Care::kFencesBeforeTheBarrier &&
        care != Care::kOnlyOthersFence) {
      simt::fence_device();
    }
    if (care == Care::kStoresAfterTheFence) {
      simt::store(rows + simt::block_index() * kThreads, 0.0F);
    }
    const bool last = simt::atomic_add(counter, 1) == blocks - 1;
    if (care != Care::kNoFenceOfReader && care != Care::kReaderFencesElsewhere) {
      simt::fence_device();
    }
    is_last[0] = last ? 1 : 0;
  }
  if (care == Care::kNoBarrierOfReader) {
    // A shuffle orders nothing, though in this warp all lanes know by it.
    if (simt::warp_index() == 0 && simt::shuffle_from(lane == 0 ? int{is_last[0]} : 0, 0) != 0) {
      simt::load(neighbours_row);
    }
    return;
  }
  simt::sync_block();
  if (is_last[0] == 0) {
    return;
  }
  if (care == Care::kReaderFencesElsewhere) {
    simt::fence_device();
  }
  float total = 0;
  for (int block = 0; block < blocks; ++block) {
    total += simt::load(rows + block * kThreads + lane);
  }
  simt::store(sum + lane, total);
}

// Stores through plain pointers, which the emulator does not see, and fences before the barrier.
void tells_of_unseen_stores(float* rows, std::int32_t* counter, bool fences_after) {
  rows[simt::block_index() * kThreads + simt::thread_index()] = 1;
  simt::fence_device();
  simt::sync_block();
  if (simt::thread_index() == 0) {
    if (fences_after) {
      simt::fence_device();
    }
    simt::atomic_add(counter, 1);
  }
}

void overwrites_others(float* to) {
  simt::store(to + simt::thread_index(), static_cast<float>(simt::block_index()));
}

void collects(std::int32_t* sum) {
  simt::reduce_add(sum, 1);
}

void arrives_last(float* sum, float* rows, std::int32_t* counter) {
  auto& is_last = simt::shared<OneInt>().value;
  const int lane = simt::thread_index();
  simt::store(rows + simt::block_index() * kThreads + lane, static_cast<float>(lane));
  if (!simt::arrive_last(counter, simt::grid_blocks(), is_last)) {
    return;
  }
  float total = 0;
  for (int block = 0; block < simt::grid_blocks(); ++block) {
    total += simt::load(rows + block * kThreads + lane);
  }
  simt::store(sum + lane, total);
}

}  // namespace planted

namespace {

using emulator::Emulation;
using emulator::Fault;
using emulator::Report;
using testing::AllOf;
using testing::HasSubstr;

constexpr int kBlocks = 3;

Report RunEarly(planted::Early early) {
  alignas(16) float in[4 * planted::kLanes] = {};
  alignas(16) float out[4 * planted::kLanes];
  std::int32_t counter = 0;
  Emulation emulation;
  simt::launch<planted::Staged>(
      GridShape{.dependent = true}, planted::touches_early, &out[0], &in[0], &counter, early);
  return emulation.report();
}

TEST(DependentLaunch, TouchesNothingBeforeItWaits) {
  using planted::Early;
  EXPECT_TRUE(RunEarly(Early::kNothing).findings.empty());
  for (const Early early : {Early::kLoad,
                            Early::kStreamingLoad,
                            Early::kElementLoad,
                            Early::kStore,
                            Early::kElementStore,
                            Early::kReduction,
                            Early::kAtomic,
                            Early::kAsyncCopy,
                            Early::kBulkCopy}) {
    const Report report = RunEarly(early);
    EXPECT_TRUE(report.Has(Fault::kDependency)) << static_cast<int>(early);
    EXPECT_THAT(report.ToString(),
                AllOf(HasSubstr("planted::touches_early: lane 0 "),
                      HasSubstr("launch_order_test.cc:"),
                      HasSubstr("dependency_wait first")));
  }
}

TEST(DependentLaunch, MustWait) {
  Emulation emulation;
  simt::launch<simt::NoShared>(GridShape{.dependent = true}, planted::never_waits);
  ASSERT_TRUE(emulation.report().Has(Fault::kDependency));
  EXPECT_THAT(emulation.report().ToString(),
              AllOf(HasSubstr("planted::never_waits: lane 0 "),
                    HasSubstr("launched at launch_order_test.cc:"),
                    HasSubstr("say dependency_wait on every way out")));
}

TEST(DependentLaunch, MayAskForWeightsBeforeItWaits) {
  alignas(16) float weights[4 * planted::kLanes];
  std::iota(weights, weights + 4 * planted::kLanes, 0.0F);
  float out[planted::kLanes];
  Emulation emulation;
  simt::launch<simt::NoShared>(
      GridShape{.dependent = true}, planted::loads_weights_early, &out[0], &weights[0]);
  const Report& report = emulation.report();
  EXPECT_TRUE(report.findings.empty()) << report.ToString();
  EXPECT_EQ(out[5], 20.0F);
  EXPECT_EQ(report.streamed_bytes, 512U);
  EXPECT_EQ(report.loaded_bytes, 128U);
  EXPECT_EQ(report.loaded_before_wait_bytes, 512U + 128U);
  EXPECT_EQ(report.prefetched_before_wait_bytes, report.prefetched_bytes);
}

TEST(DependentLaunch, DeletingTheWaitByItsPlaceIsAsGoodAsDeletingIt) {
  float weights[4 * planted::kLanes] = {};
  float out[planted::kLanes];
  const auto launch = [&] {
    simt::launch<simt::NoShared>(
        GridShape{.dependent = true}, planted::loads_weights_early, &out[0], &weights[0]);
  };
  Emulation list;
  launch();
  ASSERT_EQ(list.report().ordering_sites.size(), 1U);
  const auto& [place, kind] = *list.report().ordering_sites.begin();
  EXPECT_EQ(kind, "dependency_wait");
  Emulation without({.deleted_site = place});
  launch();
  EXPECT_TRUE(without.report().Has(Fault::kDependency));
}

Report RunSums(planted::Care care, std::uint64_t order) {
  std::vector<float> rows(kBlocks * planted::kThreads);
  std::vector<float> sum(planted::kThreads);
  std::int32_t counter = 0;
  Emulation emulation({.lane_order = order});
  simt::launch<planted::OneInt>(GridShape{.blocks = {kBlocks, 1, 1}, .threads = planted::kThreads},
                                planted::sums_rows,
                                sum.data(),
                                rows.data(),
                                &counter,
                                care);
  return emulation.report();
}

struct Omission {
  planted::Care care;
  Fault fault;
  const char* says;
};

TEST(BlocksOfALaunch, TellEachOtherByFencesAroundTheAtomic) {
  using planted::Care;
  for (const std::uint64_t order : {0, 1, 5}) {
    EXPECT_TRUE(RunSums(Care::kAll, order).findings.empty())
        << RunSums(Care::kAll, order).ToString();
    for (const Omission& omission : {
             Omission{Care::kNoFence, Fault::kFence, "with no fence_device since the store of"},
             Omission{Care::kFencesBeforeTheBarrier,
                      Fault::kFence,
                      "with no fence_device since the store of lane 1"},
             Omission{
                 Care::kOnlyOthersFence, Fault::kFence, "with no fence_device since the store of"},
             Omission{Care::kNoBarrier, Fault::kRace, "sync_block"},
             Omission{Care::kStoresAfterTheFence,
                      Fault::kFence,
                      "with no fence_device since the store of lane 0"},
             Omission{Care::kNoFenceOfReader, Fault::kRace, "then fence_device, then sync_block"},
             Omission{
                 Care::kReaderFencesElsewhere, Fault::kRace, "then fence_device, then sync_block"},
             Omission{Care::kNoBarrierOfReader, Fault::kRace, "then fence_device, then sync_block"},
             Omission{Care::kReadsUntold, Fault::kRace, "has not acquired it"},
         }) {
      const Report report = RunSums(omission.care, order);
      EXPECT_TRUE(report.Has(omission.fault)) << order << " " << omission.says;
      EXPECT_THAT(report.ToString(),
                  AllOf(HasSubstr("planted::sums_rows: lane "),
                        HasSubstr("launch_order_test.cc:"),
                        HasSubstr(omission.says)));
    }
  }
}

TEST(BlocksOfALaunch, AreAskedForAFenceOfWhatTheEmulatorDoesNotSee) {
  std::vector<float> rows(kBlocks * planted::kThreads);
  std::int32_t counter = 0;
  const GridShape grid{.blocks = {kBlocks, 1, 1}, .threads = planted::kThreads};
  Emulation without;
  simt::launch<simt::NoShared>(grid, planted::tells_of_unseen_stores, rows.data(), &counter, false);
  EXPECT_TRUE(without.report().Has(Fault::kFence));
  EXPECT_THAT(without.report().ToString(),
              AllOf(HasSubstr("planted::tells_of_unseen_stores: "),
                    HasSubstr("no fence_device since the last barrier")));
  Emulation with;
  simt::launch<simt::NoShared>(grid, planted::tells_of_unseen_stores, rows.data(), &counter, true);
  EXPECT_TRUE(with.report().findings.empty()) << with.report().ToString();
}

TEST(BlocksOfALaunch, DoNotOverwriteEachOther) {
  std::vector<float> to(planted::kThreads);
  Emulation emulation;
  simt::launch<simt::NoShared>(GridShape{.blocks = {2, 1, 1}, .threads = planted::kThreads},
                               planted::overwrites_others,
                               to.data());
  EXPECT_TRUE(emulation.report().Has(Fault::kRace));
  EXPECT_THAT(emulation.report().ToString(), HasSubstr("overwrites at launch_order_test.cc:"));
}

TEST(BlocksOfALaunch, MayAllAddToASumThatALaterLaunchReads) {
  std::int32_t sum = 0;
  Emulation emulation;
  simt::launch<simt::NoShared>(
      GridShape{.blocks = {kBlocks, 1, 1}, .threads = 32}, planted::collects, &sum);
  EXPECT_TRUE(emulation.report().findings.empty()) << emulation.report().ToString();
  EXPECT_EQ(sum, kBlocks * 32);
}

TEST(ArriveLast, LetsTheLastBlockSeeTheOthers) {
  const GridShape grid{.blocks = {kBlocks, 1, 1}, .threads = planted::kThreads};
  std::map<std::string, std::string> sites;
  const auto launch = [&] {
    std::vector<float> rows(kBlocks * planted::kThreads);
    std::vector<float> sum(planted::kThreads);
    std::int32_t counter = 0;
    simt::launch<planted::OneInt>(grid, planted::arrives_last, sum.data(), rows.data(), &counter);
    EXPECT_EQ(counter, 0);
    sites = Emulation::Current().report().ordering_sites;
    return sum;
  };
  const auto sum = InFiveOrders<float>(launch);
  EXPECT_EQ(sum[7], 7.0F * kBlocks);
  // Two barriers and two fences, each of which is missed.
  EXPECT_EQ(sites.size(), 4U);
  for (const auto& [place, kind] : std::map(sites)) {
    Emulation without({.deleted_site = place});
    launch();
    EXPECT_FALSE(without.report().findings.empty()) << kind << " " << place;
  }
}

}  // namespace
}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
