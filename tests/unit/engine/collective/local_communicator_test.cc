#include "engine/collective/local_communicator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <vector>

namespace sparkspan::engine::collective {
namespace {

TEST(LocalCommunicator, AddInRankOrder) {
  // Values whose sum depends on the order: (1e8 + 1) + -1e8 = 0 in fp32, but 1e8 - 1e8 + 1 = 1.
  const float values[] = {1e8f, 1.0f, -1e8f};
  const absl::Status status =
      RunRankThreads(3, [&](int rank, Communicator* communicator) -> absl::Status {
        EXPECT_EQ(communicator->rank().value(), rank);
        EXPECT_EQ(communicator->size(), 3);
        for (int repeat = 0; repeat < 100; ++repeat) {
          std::vector<float> io(5, values[rank]);
          const absl::Status sum = communicator->AllReduceSum(io);
          EXPECT_TRUE(sum.ok());
          EXPECT_EQ(io, std::vector<float>(5, 0.0f));
        }
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok());
}

TEST(LocalCommunicator, GatherUnevenParts) {
  const absl::Status status =
      RunRankThreads(3, [&](int rank, Communicator* communicator) -> absl::Status {
        const std::string parts[] = {"a", "", "ccc"};
        const std::size_t sizes[] = {1, 0, 3};
        std::string whole(4, ' ');
        EXPECT_TRUE(communicator
                        ->AllGather(std::as_bytes(std::span(parts[rank])),
                                    sizes,
                                    std::as_writable_bytes(std::span(whole)))
                        .ok());
        EXPECT_EQ(whole, "accc");
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok());
}

TEST(LocalCommunicator, AnErrorOfOneEndsTheWaitOfTheOthers) {
  std::atomic<int> woken{0};
  const absl::Status status =
      RunRankThreads(4, [&](int rank, Communicator* communicator) -> absl::Status {
        if (rank == 2) {
          return absl::DataLossError("rank 2 broke");
        }
        std::vector<float> io(3);
        const absl::Status sum = communicator->AllReduceSum(io);
        EXPECT_EQ(sum.message(), "rank 2 broke");
        woken.fetch_add(1);
        return sum;
      });
  EXPECT_EQ(status.message(), "rank 2 broke");
  EXPECT_EQ(woken.load(), 3);
}

TEST(LocalCommunicator, ASingleRankNeedsNoCommunicator) {
  EXPECT_TRUE(RunRankThreads(1, [](int rank, Communicator* communicator) {
                EXPECT_EQ(rank, 0);
                EXPECT_EQ(communicator, nullptr);
                return absl::OkStatus();
              }).ok());
}

}  // namespace
}  // namespace sparkspan::engine::collective
