// What goes wrong between ranks: strangers, mismatches, losses and aborts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/base/thread.h"
#include "engine/collective/blamed_peer.h"
#include "engine/collective/peer_proof.h"
#include "engine/collective/tcp_communicator.h"
#include "tests/unit/engine/collective/tcp_group.h"

namespace sparkspan::engine::collective {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Long enough that no test ends by it; a test that passes by a deadline shortens one.
constexpr Duration kNever = std::chrono::minutes(5);

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

absl::Status SumFour(TcpCommunicator& communicator) {
  std::vector<float> io(4, 1.0f);
  RETURN_IF_ERROR(communicator.AllReduceSum(io));
  EXPECT_EQ(io, std::vector<float>(4, static_cast<float>(communicator.size())));
  return absl::OkStatus();
}

// A client that is no rank.
UniqueFd Stranger(const fabric::Endpoint& endpoint) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint.port);
  address.sin_addr.s_addr = htonl(endpoint.address.bits);
  EXPECT_EQ(connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  return socket;
}

void SendBytes(const UniqueFd& socket, std::span<const std::byte> bytes) {
  EXPECT_EQ(send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

// Waits until the other side has closed; false when it has sent something first.
bool ReadsEnd(const UniqueFd& socket) {
  char byte = 0;
  return recv(socket.get(), &byte, 1, 0) <= 0;
}

enum class Accepting { kGoesOn, kFails };

// Two ranks that differ by what `change` does to the connecting one. An accepting rank that goes on
// to wait for a better peer is aborted, as the head would do.
std::vector<absl::Status> ConnectDiffering(Accepting accepting_rank,
                                           const std::function<void(TcpOptions&)>& change) {
  TcpGroup group(2);
  for (int rank = 0; rank < 2; ++rank) {
    group.options(rank).connect_timeout = kNever;
  }
  change(group.options(1));
  group.Make();
  std::vector<absl::Status> statuses(2);
  {
    Thread accepting("accepting",
                     [&] { statuses[0] = group.communicator(0).Connect(group.listener(0)); });
    statuses[1] = group.communicator(1).Connect(group.listener(1));
    if (accepting_rank == Accepting::kGoesOn) {
      group.communicator(0).Abort(absl::CancelledError("the test is over"));
    }
  }
  return statuses;
}

TEST(TcpHandshake, AnotherKeyIsRefused) {
  const std::vector<absl::Status> statuses = ConnectDiffering(
      Accepting::kGoesOn, [](TcpOptions& options) { options.key[31] ^= std::byte{1}; });
  EXPECT_THAT(Message(statuses[1]),
              AllOf(HasSubstr("rank 0 (127.0.0.1:"),
                    HasSubstr("interface lo"),
                    HasSubstr("refused rank 1"),
                    HasSubstr("session key")));
  EXPECT_EQ(Message(statuses[0]), "the test is over");
}

// A stranger has read a rank's hello on the wire and sends it again: it is welcomed, but cannot
// answer.
TEST(TcpHandshake, ARecordedHelloIsOfNoUse) {
  TcpGroup group(2);
  group.options(0).connect_timeout = kNever;
  group.options(0).hello_timeout = kNever;
  group.Make();
  Thread accepting("accepting",
                   [&] { EXPECT_FALSE(group.communicator(0).Connect(group.listener(0)).ok()); });
  Hello hello;
  hello.epoch = Epoch(7);
  hello.config_hash = group.options(0).config_hash;
  hello.from = Rank(1);
  hello.ranks = 2;
  hello.proof = ProveHello(group.options(0).key, hello);
  std::array<std::byte, kHelloBytes> bytes;
  Encode(hello, bytes);
  const UniqueFd socket = Stranger(group.listener(0).endpoint());
  SendBytes(socket, bytes);
  std::array<std::byte, kWelcomeBytes> record;
  ASSERT_EQ(recv(socket.get(), record.data(), record.size(), MSG_WAITALL),
            static_cast<ssize_t>(record.size()));
  const absl::StatusOr<Welcome> welcome = DecodeWelcome(record);
  ASSERT_TRUE(welcome.ok());
  EXPECT_EQ(welcome->verdict, Verdict::kAccepted);
  EXPECT_TRUE(IsSame(welcome->self.proof, ProveWelcome(group.options(0).key, hello, *welcome)));
  std::array<std::byte, kAnswerBytes> answer;
  Encode(Answer{hello.proof}, answer);
  SendBytes(socket, answer);
  EXPECT_TRUE(ReadsEnd(socket));
  group.communicator(0).Abort(absl::CancelledError("the test is over"));
}

TEST(TcpHandshake, AnOlderEpochIsRefused) {
  const std::vector<absl::Status> statuses =
      ConnectDiffering(Accepting::kGoesOn, [](TcpOptions& options) { options.epoch = Epoch(6); });
  EXPECT_THAT(Message(statuses[1]), HasSubstr("refused rank 1: epoch 6, expected 7"));
}

TEST(TcpHandshake, AnotherConfigurationIsAnErrorOfBoth) {
  const std::vector<absl::Status> statuses = ConnectDiffering(
      Accepting::kFails, [](TcpOptions& options) { options.config_hash = 0xBEEF; });
  for (const absl::Status& status : statuses) {
    EXPECT_THAT(Message(status),
                HasSubstr("configuration 000000000000beef, expected 0000000000c0ffee"));
  }
}

TEST(TcpHandshake, AnotherNumberOfRanksIsAnErrorOfBoth) {
  const std::vector<absl::Status> statuses =
      ConnectDiffering(Accepting::kFails, [](TcpOptions& options) {
        options.endpoints.push_back({{0x7F000001}, 1});
      });
  EXPECT_THAT(Message(statuses[0]),
              HasSubstr("rank 1 to rank 0 of 3, expected a peer of rank 0 of 2"));
}

TEST(TcpHandshake, AnotherVersionIsRefusedWithBothNamed) {
  TcpGroup group(2);
  group.options(0).connect_timeout = kNever;
  group.Make();
  Thread accepting("accepting",
                   [&] { EXPECT_FALSE(group.communicator(0).Connect(group.listener(0)).ok()); });
  Hello hello;
  hello.version = kCollectiveWireVersion + 1;
  hello.epoch = Epoch(7);
  hello.from = Rank(1);
  hello.ranks = 2;
  std::array<std::byte, kHelloBytes> bytes;
  Encode(hello, bytes);
  const UniqueFd socket = Stranger(group.listener(0).endpoint());
  SendBytes(socket, bytes);
  std::array<std::byte, kWelcomeBytes> answer;
  ASSERT_EQ(recv(socket.get(), answer.data(), answer.size(), MSG_WAITALL),
            static_cast<ssize_t>(answer.size()));
  const absl::StatusOr<Welcome> welcome = DecodeWelcome(answer);
  ASSERT_TRUE(welcome.ok());
  EXPECT_EQ(welcome->verdict, Verdict::kOtherVersion);
  EXPECT_EQ(welcome->self.proof, Proof{}) << "a proof for a peer that has given none";
  EXPECT_EQ(Explain(welcome->verdict, welcome->self, hello),
            "wire version 3, expected 2; run one release on all nodes");
  EXPECT_TRUE(ReadsEnd(socket));
  group.communicator(0).Abort(absl::CancelledError("the test is over"));
}

TEST(TcpHandshake, ARankThatHasNotHeardOfTheEpochIsTriedAgain) {
  TcpGroup old_group(2);
  TcpGroup group(2);
  // Rank 0 is in epoch 6 still, on the port where rank 1 already looks for epoch 7.
  TcpOptions& old_options = old_group.options(0);
  old_options.epoch = Epoch(6);
  old_options.key.fill(std::byte{1});
  old_options.endpoints = group.options(0).endpoints;
  old_options.connect_timeout = kNever;
  for (int rank = 0; rank < 2; ++rank) {
    group.options(rank).connect_timeout = kNever;
  }
  old_group.Make();
  group.Make();
  absl::Status first;
  absl::Status second;
  absl::Status other;
  {
    Thread rank0("rank0", [&] {
      first = old_group.communicator(0).Connect(group.listener(0));
      second = group.communicator(0).Connect(group.listener(0));
    });
    Thread rank1("rank1", [&] { other = group.communicator(1).Connect(group.listener(1)); });
    old_group.communicator(0).Abort(absl::AbortedError("epoch 7 begins"));
  }
  EXPECT_EQ(Message(first), "epoch 7 begins");
  EXPECT_TRUE(second.ok()) << Message(second);
  EXPECT_TRUE(other.ok()) << Message(other);
}

TEST(TcpHandshake, StrangersDoNotHoldTheGroupUp) {
  TcpGroup group(3);
  for (int rank = 0; rank < 3; ++rank) {
    group.options(rank).connect_timeout = kNever;
    group.options(rank).hello_timeout = kNever;  // The silent one is never given up.
  }
  const UniqueFd silent = Stranger(group.listener(0).endpoint());
  const UniqueFd garbage = Stranger(group.listener(0).endpoint());
  const UniqueFd gone = Stranger(group.listener(1).endpoint());
  const std::vector<std::byte> bytes(1000, std::byte{'G'});
  SendBytes(garbage, bytes);
  shutdown(gone.get(), SHUT_RDWR);
  for (const absl::Status& status : group.Run(SumFour)) {
    EXPECT_TRUE(status.ok()) << Message(status);
  }
  EXPECT_TRUE(ReadsEnd(garbage));
  EXPECT_TRUE(ReadsEnd(silent));  // Its connection has ended with the handshake.
}

TEST(TcpHandshake, ASilentStrangerIsGivenUpAtItsOwnDeadline) {
  TcpGroup group(2);
  group.options(0).connect_timeout = kNever;
  group.options(0).hello_timeout = std::chrono::milliseconds(20);
  group.Make();
  Thread accepting("accepting",
                   [&] { EXPECT_FALSE(group.communicator(0).Connect(group.listener(0)).ok()); });
  const UniqueFd silent = Stranger(group.listener(0).endpoint());
  EXPECT_TRUE(ReadsEnd(silent));
  group.communicator(0).Abort(absl::CancelledError("the test is over"));
}

TEST(TcpHandshake, AnAddressThatIsNoPeersIsRefusedAtOnce) {
  TcpGroup group(2);
  group.options(0).connect_timeout = kNever;
  group.options(0).hello_timeout = kNever;
  group.options(0).endpoints[1].address = {0x7F000002};
  group.Make();
  Thread accepting("accepting",
                   [&] { EXPECT_FALSE(group.communicator(0).Connect(group.listener(0)).ok()); });
  const UniqueFd stranger = Stranger(group.listener(0).endpoint());  // from 127.0.0.1
  EXPECT_TRUE(ReadsEnd(stranger));
  group.communicator(0).Abort(absl::CancelledError("the test is over"));
}

TEST(TcpHandshake, AMissingPeerIsNamedAtTheDeadline) {
  TcpGroup group(3);
  group.options(1).connect_timeout = std::chrono::milliseconds(50);
  group.Make();
  const absl::Status status = group.communicator(1).Connect(group.listener(1));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Message(status),
              AllOf(HasSubstr("after 50 ms"),
                    HasSubstr("rank 0 (127.0.0.1:"),
                    HasSubstr("rank 2 (127.0.0.1:"),
                    HasSubstr("interface lo")));
}

TEST(TcpHandshake, AClosedPortIsTriedAgainUntilTheDeadline) {
  TcpGroup group(2);
  {
    // A port that nobody listens on any more.
    absl::StatusOr<TcpListener> closed =
        TcpListener::Open({"lo", {0x7F000001}}, 0, fabric::LocalPeers::kNone);
    ASSERT_TRUE(closed.ok());
    group.options(1).endpoints[0] = closed->endpoint();
  }
  group.options(1).connect_timeout = std::chrono::milliseconds(50);
  group.Make();
  EXPECT_THAT(Message(group.communicator(1).Connect(group.listener(1))),
              HasSubstr("Connection refused"));
}

TEST(TcpHandshake, AbortEndsTheWait) {
  TcpGroup group(2);
  group.options(0).connect_timeout = kNever;
  group.Make();
  Thread aborting("aborting",
                  [&] { group.communicator(0).Abort(absl::AbortedError("the head is gone")); });
  EXPECT_EQ(Message(group.communicator(0).Connect(group.listener(0))), "the head is gone");
  std::vector<float> io(1);
  EXPECT_EQ(Message(group.communicator(0).AllReduceSum(io)), "the head is gone");
}

TEST(TcpHandshake, OptionsAreChecked) {
  const fabric::Endpoint one{{0x7F000001}, 1};
  TcpOptions options;
  EXPECT_THAT(Message(Validate(options)), HasSubstr("endpoints: 0 ranks"));
  options.endpoints = {one, one};
  EXPECT_THAT(Message(Validate(options)), HasSubstr("127.0.0.1:1 belongs to two ranks"));
  options.endpoints = {one, {{0}, 2}};
  EXPECT_THAT(Message(Validate(options)), HasSubstr("endpoints[1]: 0.0.0.0:2"));
  options.endpoints = {one};
  options.rank = Rank(1);
  EXPECT_THAT(Message(Validate(options)), HasSubstr("rank: 1 is none of 1 ranks"));
}

TEST(TcpExchange, APeersDeathEndsAnExchangeAtOnce) {
  TcpGroup group(2);
  for (int rank = 0; rank < 2; ++rank) {
    group.options(rank).exchange_timeout = kNever;
  }
  const std::vector<absl::Status> statuses =
      group.Run([](TcpCommunicator& communicator) -> absl::Status {
        RETURN_IF_ERROR(SumFour(communicator));  // All are connected.
        if (communicator.rank() == Rank(1)) {
          communicator.Abort(absl::DataLossError("rank 1 broke"));
          return absl::OkStatus();
        }
        // More than the sockets hold: half of it is under way.
        std::vector<float> io(std::size_t{4} << 20);
        return communicator.AllReduceSum(io);
      });
  EXPECT_EQ(statuses[0].code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Message(statuses[0]),
              AllOf(HasSubstr("rank 1 (127.0.0.1:"), HasSubstr("interface lo")));
  EXPECT_EQ(BlamedPeer(statuses[0]), Rank(1));
}

TEST(TcpExchange, ASilentPeerIsNamedAtTheDeadlineAndTheOthersNotice) {
  TcpGroup group(3);
  for (int rank = 0; rank < 3; ++rank) {
    group.options(rank).exchange_timeout = kNever;
  }
  group.options(0).exchange_timeout = std::chrono::milliseconds(50);
  std::atomic<int> ended{0};
  const std::vector<absl::Status> statuses =
      group.Run([&](TcpCommunicator& communicator) -> absl::Status {
        if (communicator.rank() != Rank(2)) {
          std::vector<float> io(4);
          const absl::Status status = communicator.AllReduceSum(io);
          ++ended;
          return status;
        }
        while (ended != 2) {
          pollfd none{};
          poll(&none, 0, 1);
        }
        return absl::OkStatus();
      });
  EXPECT_EQ(statuses[0].code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(
      Message(statuses[0]),
      AllOf(HasSubstr("rank 2 (127.0.0.1:"), HasSubstr("interface lo"), HasSubstr("within 50 ms")));
  EXPECT_THAT(Message(statuses[1]), HasSubstr("rank 0 (127.0.0.1:"));
}

TEST(TcpExchange, AbortWakesABlockedOperationAndThePeers) {
  TcpGroup group(3);
  for (int rank = 0; rank < 3; ++rank) {
    group.options(rank).exchange_timeout = kNever;
  }
  const std::vector<absl::Status> statuses =
      group.Run([&](TcpCommunicator& communicator) -> absl::Status {
        RETURN_IF_ERROR(SumFour(communicator));
        if (communicator.rank() == Rank(2)) {
          // Never takes part; aborts rank 0 from another thread than rank 0's.
          group.communicator(0).Abort(absl::AbortedError("the head gave up"));
          return absl::OkStatus();
        }
        std::vector<float> io(4);
        const absl::Status status = communicator.AllReduceSum(io);
        EXPECT_EQ(communicator.AllReduceSum(io), status) << "an error is final";
        return status;
      });
  EXPECT_EQ(Message(statuses[0]), "the head gave up");
  EXPECT_THAT(Message(statuses[1]), HasSubstr("rank 0 (127.0.0.1:"));
}

}  // namespace
}  // namespace sparkspan::engine::collective
