#include "engine/collective/tcp_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/collective/local_communicator.h"
#include "tests/unit/engine/collective/tcp_group.h"

namespace sparkspan::engine::collective {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

void ExpectAllOk(const std::vector<absl::Status>& statuses) {
  for (const absl::Status& status : statuses) {
    EXPECT_TRUE(status.ok()) << Message(status);
  }
}

// Values over many magnitudes, so that another order of additions gives other bits.
std::vector<float> PartOf(int rank, std::size_t count, unsigned salt) {
  std::mt19937 random(salt * 64 + static_cast<unsigned>(rank));
  std::vector<float> part(count);
  for (float& value : part) {
    value = std::ldexp(static_cast<float>(static_cast<std::int32_t>(random())),
                       -static_cast<int>(random() % 40));
  }
  return part;
}

std::vector<std::uint32_t> Bits(std::span<const float> values) {
  std::vector<std::uint32_t> bits;
  for (const float value : values) {
    bits.push_back(std::bit_cast<std::uint32_t>(value));
  }
  return bits;
}

// Added one after another, apart from any communicator.
std::vector<float> SumInOrder(int ranks, std::size_t count, unsigned salt) {
  std::vector<float> sum = PartOf(0, count, salt);
  for (int rank = 1; rank < ranks; ++rank) {
    const std::vector<float> part = PartOf(rank, count, salt);
    for (std::size_t i = 0; i < count; ++i) {
      sum[i] = sum[i] + part[i];
    }
  }
  return sum;
}

class TcpCommunicatorTest : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Ranks, TcpCommunicatorTest, testing::Values(1, 2, 3, 4, 8));

TEST_P(TcpCommunicatorTest, SumsInRankOrderWithTheBitsOfTheLocalGroup) {
  const int ranks = GetParam();
  const std::size_t counts[] = {0, 1, 3, 1023, 1024, 1025, 4096, 70001};
  TcpGroup group(ranks);
  ExpectAllOk(group.Run([&](TcpCommunicator& communicator) -> absl::Status {
    EXPECT_EQ(communicator.size(), ranks);
    std::uint64_t step = 1;
    for (const std::size_t count : counts) {
      communicator.BeginStep({Epoch(7), Step(step++)});
      const auto salt = static_cast<unsigned>(count);
      std::vector<float> io = PartOf(communicator.rank().value(), count, salt);
      RETURN_IF_ERROR(communicator.AllReduceSum(io));
      EXPECT_EQ(Bits(io), Bits(SumInOrder(ranks, count, salt))) << count << " values";
    }
    return absl::OkStatus();
  }));
  if (ranks > 1) {
    const absl::Status local = RunRankThreads(ranks, [&](int rank, Communicator* communicator) {
      std::vector<float> io = PartOf(rank, 4096, 4096);
      EXPECT_TRUE(communicator->AllReduceSum(io).ok());
      EXPECT_EQ(Bits(io), Bits(SumInOrder(ranks, 4096, 4096)));
      return absl::OkStatus();
    });
    EXPECT_TRUE(local.ok());
  }
}

TEST(TcpCommunicator, TheTestsSumDependsOnTheOrder) {
  std::vector<float> reversed = PartOf(2, 4096, 4096);
  for (const int rank : {1, 0}) {
    const std::vector<float> part = PartOf(rank, 4096, 4096);
    for (std::size_t i = 0; i < part.size(); ++i) {
      reversed[i] = reversed[i] + part[i];
    }
  }
  EXPECT_NE(Bits(reversed), Bits(SumInOrder(3, 4096, 4096)));
}

TEST_P(TcpCommunicatorTest, GathersUnevenParts) {
  const int ranks = GetParam();
  std::vector<std::string> parts;
  std::vector<std::size_t> sizes;
  std::string expected;
  for (int rank = 0; rank < ranks; ++rank) {
    // Every third rank has nothing; the others differ by bytes and by more than a packet.
    const std::size_t bytes = rank % 3 == 1 ? 0 : static_cast<std::size_t>(rank * 9001 + 1);
    parts.emplace_back(bytes, static_cast<char>('a' + rank));
    sizes.push_back(bytes);
    expected += parts.back();
  }
  TcpGroup group(ranks);
  ExpectAllOk(group.Run([&](TcpCommunicator& communicator) -> absl::Status {
    const auto own = static_cast<std::size_t>(communicator.rank().value());
    std::string whole(expected.size(), ' ');
    RETURN_IF_ERROR(communicator.AllGather(
        std::as_bytes(std::span(parts[own])), sizes, std::as_writable_bytes(std::span(whole))));
    EXPECT_EQ(whole, expected);
    // In place: the part already lies where it belongs.
    std::size_t offset = 0;
    for (std::size_t rank = 0; rank < own; ++rank) {
      offset += sizes[rank];
    }
    std::string again(expected.size(), ' ');
    again.replace(offset, sizes[own], parts[own]);
    const std::span<std::byte> bytes = std::as_writable_bytes(std::span(again));
    RETURN_IF_ERROR(communicator.AllGather(bytes.subspan(offset, sizes[own]), sizes, bytes));
    EXPECT_EQ(again, expected);
    return absl::OkStatus();
  }));
}

TEST(TcpCommunicator, LargeExchangesInBothDirectionsDoNotBlock) {
  constexpr std::size_t kValues = std::size_t{16} << 20;  // 64 MiB, more than any socket buffer
  TcpGroup group(2);
  ExpectAllOk(group.Run([&](TcpCommunicator& communicator) -> absl::Status {
    std::vector<float> io(kValues, communicator.rank() == Rank(0) ? 1.5f : 0.25f);
    io.back() = -1.0f;
    RETURN_IF_ERROR(communicator.AllReduceSum(io));
    EXPECT_EQ(std::count(io.begin(), io.end(), 1.75f), kValues - 1);
    EXPECT_EQ(io.back(), -2.0f);
    return absl::OkStatus();
  }));
}

TEST(TcpCommunicator, TrafficTellsPathAndBytes) {
  TcpGroup group(3);
  ExpectAllOk(group.Run([&](TcpCommunicator& communicator) {
    std::vector<float> io(100, 1.0f);
    return communicator.AllReduceSum(io);
  }));
  const std::vector<PeerTraffic> traffic = group.communicator(1).Traffic();
  ASSERT_EQ(traffic.size(), 2u);
  EXPECT_EQ(traffic[0].rank, Rank(0));
  EXPECT_EQ(traffic[1].rank, Rank(2));
  for (const PeerTraffic& one : traffic) {
    EXPECT_EQ(one.path.interface, "lo");
    EXPECT_EQ(one.path.binding, fabric::Binding::kDevice);
    EXPECT_EQ(fabric::ToString(one.path.local.address), "127.0.0.1");
    EXPECT_EQ(one.sent_bytes, kHeaderBytes + 400);
    EXPECT_EQ(one.received_bytes, kHeaderBytes + 400);
  }
  EXPECT_EQ(traffic[0].path.peer, group.listener(0).endpoint());
}

TEST(TcpCommunicator, AnotherStepIsAnErrorThatNamesBoth) {
  TcpGroup group(2);
  const std::vector<absl::Status> statuses = group.Run([](TcpCommunicator& communicator) {
    communicator.BeginStep({Epoch(7), Step(communicator.rank() == Rank(0) ? 41 : 42)});
    std::vector<float> io(4);
    return communicator.AllReduceSum(io);
  });
  // Whoever looks first ends the exchange, and the other may see that instead.
  const std::string both = Message(statuses[0]) + Message(statuses[1]);
  EXPECT_THAT(both, AllOf(HasSubstr("step 41"), HasSubstr("step 42"), HasSubstr("interface lo")));
}

TEST(TcpCommunicator, AnotherOperationOrSizeIsAnErrorThatNamesBoth) {
  TcpGroup group(2);
  const std::vector<absl::Status> statuses =
      group.Run([](TcpCommunicator& communicator) -> absl::Status {
        if (communicator.rank() == Rank(0)) {
          std::vector<float> io(2);
          return communicator.AllReduceSum(io);
        }
        const std::size_t sizes[] = {8, 4};
        std::vector<std::byte> whole(12);
        return communicator.AllGather(std::span(whole).subspan(8), sizes, whole);
      });
  const std::string both = Message(statuses[0]) + Message(statuses[1]);
  EXPECT_THAT(both, AllOf(HasSubstr("all-reduce of 8 bytes"), HasSubstr("all-gather of")));
}

TEST(TcpCommunicator, AStepOfAnotherEpochIsRefusedBeforeAnythingIsSent) {
  TcpGroup group(2);
  const std::vector<absl::Status> statuses = group.Run([](TcpCommunicator& communicator) {
    communicator.BeginStep({Epoch(8), Step(1)});
    std::vector<float> io(2);
    return communicator.AllReduceSum(io);
  });
  EXPECT_EQ(Message(statuses[0]), "a step of epoch 8 on the connections of epoch 7");
  EXPECT_EQ(group.communicator(0).Traffic()[0].sent_bytes, 0u);
}

}  // namespace
}  // namespace sparkspan::engine::collective
