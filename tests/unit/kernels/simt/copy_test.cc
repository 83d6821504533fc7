// Asynchronous copies: delivered at the last legal moment, so that whoever looks early is caught.

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

constexpr int kFloats = 128;  // four to a lane of one warp

struct Staged {
  simt::SharedArray<float, kFloats> values;
};

enum class Mistake { kNone, kNoWait, kNoBarrier, kLooksEarly, kChangesSource, kOverwritesUnread };

void reverse_through_shared(float* out, float* in, Mistake mistake) {
  auto& shared = simt::shared<Staged>();
  const int lane = simt::lane_index();
  if (mistake == Mistake::kOverwritesUnread) {
    shared.values[kFloats - 1 - lane] = 0;
    out[lane] = shared.values[kFloats - 1 - lane];
  }
  simt::async_copy(shared.values.from(4 * lane), in + 4 * lane);
  simt::async_commit();
  if (mistake == Mistake::kLooksEarly) {
    out[0] = shared.values[4 * lane];
  }
  if (mistake == Mistake::kChangesSource) {
    in[4 * lane] = -1;
  }
  if (mistake != Mistake::kNoWait) {
    simt::async_wait<0>();
  }
  if (mistake != Mistake::kNoBarrier) {
    simt::sync_block();
  }
  if (mistake != Mistake::kNoWait) {
    for (int i : simt::block_stride(kFloats)) {
      out[i] = shared.values[kFloats - 1 - i];
    }
  }
}

emulator::Report RunWith(Mistake mistake) {
  alignas(16) float in[kFloats];
  std::iota(in, in + kFloats, 0.0F);
  std::vector<float> out(kFloats);
  Emulation emulation;
  simt::launch<Staged>(GridShape{}, reverse_through_shared, out.data(), &in[0], mistake);
  if (mistake == Mistake::kNone) {
    EXPECT_EQ(out[0], 127.0F);
    EXPECT_EQ(out[127], 0.0F);
  }
  return emulation.report();
}

TEST(AsyncCopy, ACarefulKernelIsClean) {
  EXPECT_TRUE(RunWith(Mistake::kNone).findings.empty()) << RunWith(Mistake::kNone).ToString();
}
TEST(AsyncCopy, EachMistakeIsReported) {
  EXPECT_TRUE(RunWith(Mistake::kNoWait).Has(Fault::kUnwaitedCopy));
  EXPECT_TRUE(RunWith(Mistake::kNoBarrier).Has(Fault::kRace));
  EXPECT_TRUE(RunWith(Mistake::kLooksEarly).Has(Fault::kInFlight));
  EXPECT_TRUE(RunWith(Mistake::kChangesSource).Has(Fault::kCopySource));
  EXPECT_TRUE(RunWith(Mistake::kOverwritesUnread).Has(Fault::kRace));
}

void wait_for_the_older_group(float* out, const float* in) {
  auto& shared = simt::shared<Staged>();
  const int lane = simt::lane_index();
  if (lane < 16) {
    simt::async_copy(shared.values.from(4 * lane), in + 4 * lane);
  }
  simt::async_commit();
  if (lane < 16) {
    simt::async_copy(shared.values.from(64 + 4 * lane), in + 64 + 4 * lane, false);
  }
  simt::async_commit();
  simt::async_wait<1>();
  simt::sync_block();
  out[lane] = shared.values[lane];
  simt::async_wait<0>();
  simt::sync_block();
  out[32 + lane] = shared.values[64 + lane];
}

TEST(AsyncCopy, GroupsArriveInOrderAndInvalidSourcesAreZero) {
  alignas(16) float in[kFloats];
  std::iota(in, in + kFloats, 0.0F);
  const auto out = InFiveOrders<float>([&] {
    std::vector<float> result(64);
    simt::launch<Staged>(GridShape{}, wait_for_the_older_group, result.data(), &in[0]);
    return result;
  });
  EXPECT_EQ(out[17], 17.0F);
  EXPECT_EQ(out[32 + 17], 0.0F);
}

struct Pipeline {
  simt::SharedMatrix<float, 2, kFloats> stage;
  simt::Mbarrier full[2];
  simt::Mbarrier empty[2];
};

enum class Slip { kNone, kNoInit, kInitUnseen, kNoEmptyWait, kTooFewBytes, kLooksEarly };

// Warp 0 fills two stages in turn, warp 1 adds them up.
void add_tiles(float* out, const float* in, int tiles, Slip slip) {
  auto& shared = simt::shared<Pipeline>();
  if (simt::thread_index() == 0 && slip != Slip::kNoInit) {
    for (int stage = 0; stage < 2; ++stage) {
      shared.full[stage].init(1);
      shared.empty[stage].init(32);
    }
  }
  if (slip != Slip::kInitUnseen) {
    simt::sync_block();
  }
  if (simt::thread_index() == 0) {
    for (int tile = 0; tile < tiles; ++tile) {
      const int stage = tile % 2;
      if (tile >= 2 && slip != Slip::kNoEmptyWait) {
        shared.empty[stage].wait((tile / 2 + 1) % 2);
      }
      const int bytes = kFloats * 4;
      simt::bulk_copy(shared.stage.from(stage, 0), in + tile * kFloats, bytes, shared.full[stage]);
      shared.full[stage].arrive_expect(slip == Slip::kTooFewBytes ? bytes - 16 : bytes);
    }
  }
  if (simt::warp_index() == 1) {
    float sum = 0;
    for (int tile = 0; tile < tiles; ++tile) {
      const int stage = tile % 2;
      if (slip != Slip::kLooksEarly) {
        shared.full[stage].wait(tile / 2 % 2);
      }
      sum += shared.stage(stage, simt::lane_index());
      shared.empty[stage].arrive();
    }
    out[simt::lane_index()] = sum;
  }
}

TEST(BulkCopy, PipelineOfTwoStages) {
  alignas(16) float in[5 * kFloats];
  std::iota(in, in + 5 * kFloats, 0.0F);
  const auto out = InFiveOrders<float>([&] {
    std::vector<float> result(32);
    simt::launch<Pipeline>(
        GridShape{.threads = 64}, add_tiles, result.data(), &in[0], 5, Slip::kNone);
    return result;
  });
  EXPECT_EQ(out[3], 5.0F * 3 + 128 * (0 + 1 + 2 + 3 + 4));
}

TEST(BulkCopy, EachSlipIsReported) {
  alignas(16) float in[5 * kFloats] = {};
  const auto run = [&](Slip slip) {
    std::vector<float> out(32);
    Emulation emulation;
    simt::launch<Pipeline>(GridShape{.threads = 64}, add_tiles, out.data(), &in[0], 5, slip);
    return emulation.report();
  };
  EXPECT_TRUE(run(Slip::kNoInit).Has(Fault::kBarrierUse));
  EXPECT_TRUE(run(Slip::kInitUnseen).Has(Fault::kBarrierUse));
  EXPECT_TRUE(run(Slip::kTooFewBytes).Has(Fault::kDivergence));  // nobody ever gets through
  EXPECT_TRUE(run(Slip::kLooksEarly).Has(Fault::kInFlight));
  EXPECT_FALSE(run(Slip::kNoEmptyWait).findings.empty());
}

void move_vectors(const std::uint32_t* in, std::uint32_t* out) {
  simt::prefetch_l2(in, 512);
  simt::store_vector<4>(out + 4 * simt::lane_index(),
                        simt::load_streaming<4>(in + 4 * simt::lane_index()));
  simt::load_vector<2>(in);
}

TEST(Traffic, IsCountedByKind) {
  alignas(16) std::uint32_t in[128] = {};
  alignas(16) std::uint32_t out[128];
  Emulation emulation;
  simt::launch<simt::NoShared>(GridShape{}, move_vectors, &in[0], &out[0]);
  EXPECT_EQ(emulation.report().streamed_bytes, 512U);
  EXPECT_EQ(emulation.report().stored_bytes, 512U);
  EXPECT_EQ(emulation.report().loaded_bytes, 256U);
  EXPECT_EQ(emulation.report().prefetched_bytes, 32U * 512U);
}

}  // namespace
}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
