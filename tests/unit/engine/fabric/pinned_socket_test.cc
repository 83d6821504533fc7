#include "engine/fabric/pinned_socket.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <optional>
#include <string>
#include <vector>

namespace sparkspan::engine::fabric {
namespace {

using testing::HasSubstr;

const DeclaredPin kLoopback{"lo", {0x7F000001}};

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

void WaitFor(int socket, short events) {
  pollfd entry{socket, events, 0};
  ASSERT_EQ(poll(&entry, 1, 60'000), 1);
}

void Connect(int socket, const Endpoint& to) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(to.port);
  address.sin_addr.s_addr = htonl(to.address.bits);
  connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  WaitFor(socket, POLLOUT);
}

// An interface of this machine beside loopback that holds an address; empty where there is none.
std::optional<DeclaredPin> OtherPin() {
  const absl::StatusOr<std::vector<InterfaceAddress>> addresses = KernelAddressSource().Addresses();
  EXPECT_TRUE(addresses.ok()) << addresses.status();
  for (const InterfaceAddress& held : *addresses) {
    if (held.interface != "lo") {
      return DeclaredPin{held.interface, held.address};
    }
  }
  return std::nullopt;
}

struct Pair {
  UniqueFd client;
  UniqueFd server;
};

Pair ConnectPair(const DeclaredPin& pin, LocalPeers local_peers) {
  absl::StatusOr<UniqueFd> listener = ListenPinned(pin, 0, local_peers, 8);
  EXPECT_TRUE(listener.ok()) << listener.status();
  absl::StatusOr<UniqueFd> client = OpenPinned(pin, pin.address);
  EXPECT_TRUE(client.ok()) << client.status();
  Connect(client->get(), *LocalEndpoint(listener->get()));
  WaitFor(listener->get(), POLLIN);
  UniqueFd server(accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  EXPECT_TRUE(server.valid());
  EXPECT_TRUE(BindToPath(server.get(), pin).ok());
  return {*std::move(client), std::move(server)};
}

TEST(PinnedSocket, LiesOnTheDeclaredInterfaceAtBothEnds) {
  const Pair pair = ConnectPair(kLoopback, LocalPeers::kNone);
  for (const UniqueFd* end : {&pair.client, &pair.server}) {
    const absl::StatusOr<SocketPath> path =
        ProvePath(end->get(), kLoopback, kLoopback.address, KernelAddressSource());
    ASSERT_TRUE(path.ok()) << path.status();
    EXPECT_EQ(path->interface, "lo");
    EXPECT_EQ(path->binding, Binding::kDevice);
    EXPECT_EQ(path->local.address, kLoopback.address);
  }
  EXPECT_EQ(*LocalEndpoint(pair.client.get()), *PeerEndpoint(pair.server.get()));
}

// As gRPC's: the socket's owner knows nothing of pins, and speaks IPv4 through an IPv6 socket.
TEST(PinnedSocket, AConnectionOfAnotherOwnerIsHeldOnTheInterface) {
  const UniqueFd listener(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int off = 0;
  setsockopt(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  ASSERT_EQ(inet_pton(AF_INET6, "::ffff:127.0.0.1", &address.sin6_addr), 1);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  const absl::StatusOr<UniqueFd> client = OpenPinned(kLoopback, kLoopback.address);
  ASSERT_TRUE(client.ok()) << client.status();
  Connect(client->get(), *LocalEndpoint(listener.get()));
  const UniqueFd server(accept(listener.get(), nullptr, nullptr));
  const Endpoint peer = *LocalEndpoint(client->get());
  EXPECT_EQ(ProvePath(server.get(), kLoopback, peer.address, KernelAddressSource())->binding,
            Binding::kSourceAddress);
  const absl::StatusOr<SocketPath> path = HoldConnection(kLoopback, peer, KernelAddressSource());
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ(path->binding, Binding::kDevice);
  EXPECT_EQ(ProvePath(server.get(), kLoopback, peer.address, KernelAddressSource())->binding,
            Binding::kDevice)
      << "the owner's socket is the same";
  EXPECT_EQ(HoldConnection(kLoopback, {peer.address, 1}, KernelAddressSource()).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(PinnedSocket, PeersOnThisMachineAreReachedThroughLoopbackAndSayIt) {
  const std::optional<DeclaredPin> pin = OtherPin();
  if (!pin.has_value()) {
    GTEST_SKIP() << "this machine has no interface but loopback";
  }
  const Pair pair = ConnectPair(*pin, LocalPeers::kSome);
  for (const UniqueFd* end : {&pair.client, &pair.server}) {
    const absl::StatusOr<SocketPath> path =
        ProvePath(end->get(), *pin, pin->address, KernelAddressSource());
    ASSERT_TRUE(path.ok()) << path.status();
    EXPECT_EQ(path->interface, pin->interface);
    EXPECT_EQ(path->binding, Binding::kSameMachine);
  }
}

TEST(PinnedSocket, AnotherPinOrPeerIsDisproved) {
  const Pair pair = ConnectPair(kLoopback, LocalPeers::kNone);
  const int socket = pair.client.get();
  const KernelAddressSource addresses;
  EXPECT_THAT(
      Message(
          ProvePath(socket, {"eth7", kLoopback.address}, kLoopback.address, addresses).status()),
      HasSubstr("on interface 'lo', but 127.0.0.1 on interface eth7 is declared"));
  EXPECT_EQ(Message(ProvePath(socket, kLoopback, {0x0A000001}, addresses).status()),
            "the peer's address is 127.0.0.1, declared is 10.0.0.1");
}

TEST(PinnedSocket, FaultsNameWhatWasAskedFor) {
  EXPECT_THAT(Message(ListenPinned({"absent0", {0x7F000001}}, 0, LocalPeers::kNone, 8).status()),
              HasSubstr("cannot bind a socket to interface absent0: No such device"));
  EXPECT_THAT(Message(ListenPinned({"lo", {0}}, 0, LocalPeers::kNone, 8).status()),
              HasSubstr("0.0.0.0 is every interface"));
  EXPECT_THAT(Message(ListenPinned({"lo", {0xC0000201}}, 0, LocalPeers::kNone, 8).status()),
              HasSubstr("cannot bind to 192.0.2.1 on interface lo, port 0: Cannot assign"));
  EXPECT_THAT(
      Message(ListenPinned({"a-name-too-long0", {0x7F000001}}, 0, LocalPeers::kNone, 8).status()),
      HasSubstr("'a-name-too-long0' is no interface"));
  const absl::StatusOr<UniqueFd> first = ListenPinned(kLoopback, 0, LocalPeers::kNone, 8);
  ASSERT_TRUE(first.ok());
  const Endpoint taken = *LocalEndpoint(first->get());
  EXPECT_THAT(Message(ListenPinned(kLoopback, taken.port, LocalPeers::kNone, 8).status()),
              HasSubstr("Address already in use"));
}

}  // namespace
}  // namespace sparkspan::engine::fabric
