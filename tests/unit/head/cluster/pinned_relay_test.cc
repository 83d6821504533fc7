#include "head/cluster/pinned_relay.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/thread.h"
#include "engine/fabric/pinned_socket.h"

namespace sparkspan::head::cluster {
namespace {

using engine::UniqueFd;
using engine::fabric::DeclaredPin;
using engine::fabric::Endpoint;

const DeclaredPin kLoopback{"lo", engine::fabric::Ipv4Address{0x7F000001}};

void SetTimeout(int socket) {
  const timeval timeout{20, 0};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
}

UniqueFd ConnectTo(const std::string& target) {
  const std::string name = target.substr(std::string("unix-abstract:").size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), address.sun_path + 1);
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  EXPECT_EQ(connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), bytes), 0);
  SetTimeout(socket.get());
  return socket;
}

UniqueFd ListenOnLoopback() {
  absl::StatusOr<UniqueFd> listener =
      engine::fabric::ListenPinned(kLoopback, 0, engine::fabric::LocalPeers::kSome, /*backlog=*/8);
  EXPECT_TRUE(listener.ok()) << listener.status();
  fcntl(listener->get(), F_SETFL, 0);
  SetTimeout(listener->get());
  return *std::move(listener);
}

// Sends back what the first client sends, until that one has ended.
void Echo(int listener) {
  const UniqueFd client(accept(listener, nullptr, nullptr));
  std::array<char, 4096> buffer;
  ssize_t got;
  while ((got = recv(client.get(), buffer.data(), buffer.size(), 0)) > 0) {
    ASSERT_EQ(send(client.get(), buffer.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL), got);
  }
}

TEST(PinnedRelayTest, CarriesBytesBothWaysByTheDeclaredInterface) {
  const UniqueFd listener = ListenOnLoopback();
  engine::Thread echo("echo", [&] { Echo(listener.get()); });
  const auto relay = PinnedRelay::Start(kLoopback, *engine::fabric::LocalEndpoint(listener.get()));
  ASSERT_TRUE(relay.ok()) << relay.status();
  const UniqueFd client = ConnectTo((*relay)->target());
  std::string sent(3'000'001, '\0');
  for (std::size_t i = 0; i < sent.size(); ++i) {
    sent[i] = static_cast<char>(i * 2654435761u >> 24);
  }
  engine::Thread sender("sender", [&] {
    for (std::size_t done = 0; done < sent.size();) {
      const ssize_t bytes =
          send(client.get(), sent.data() + done, sent.size() - done, MSG_NOSIGNAL);
      ASSERT_GT(bytes, 0);
      done += static_cast<std::size_t>(bytes);
    }
    shutdown(client.get(), SHUT_WR);
  });
  std::string received(sent.size() + 1, '\0');
  std::size_t done = 0;
  for (ssize_t got = 1; got > 0 && done < received.size();) {
    got = recv(client.get(), received.data() + done, received.size() - done, 0);
    done += got > 0 ? static_cast<std::size_t>(got) : 0;
  }
  ASSERT_EQ(done, sent.size());
  received.resize(done);
  EXPECT_EQ(received, sent);
  const auto path = (*relay)->path();
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ(path->interface, "lo");
  EXPECT_EQ(path->peer, *engine::fabric::LocalEndpoint(listener.get()));
}

// The remote, as a stopped process does, reads nothing and never closes.
TEST(PinnedRelayTest, AClientThatIsGoneFreesTheConnection) {
  const UniqueFd listener = ListenOnLoopback();
  const auto relay = PinnedRelay::Start(kLoopback, *engine::fabric::LocalEndpoint(listener.get()));
  ASSERT_TRUE(relay.ok()) << relay.status();
  std::vector<UniqueFd> stopped;
  for (std::size_t i = 0; i < 2 * PinnedRelay::kConnectionsMax; ++i) {
    const UniqueFd client = ConnectTo((*relay)->target());
    UniqueFd remote(accept(listener.get(), nullptr, nullptr));
    ASSERT_TRUE(remote.valid()) << "connection " << i;
    EXPECT_EQ(send(client.get(), "x", 1, MSG_NOSIGNAL), 1);
    char byte = 0;
    EXPECT_EQ(recv(remote.get(), &byte, 1, 0), 1);
    stopped.push_back(std::move(remote));
  }
}

TEST(PinnedRelayTest, ClosesTheClientAndSaysWhyWhenTheRemoteIsNotThere) {
  Endpoint nobody;
  {
    const UniqueFd listener = ListenOnLoopback();
    nobody = *engine::fabric::LocalEndpoint(listener.get());
  }
  const auto relay = PinnedRelay::Start(kLoopback, nobody);
  ASSERT_TRUE(relay.ok()) << relay.status();
  const UniqueFd client = ConnectTo((*relay)->target());
  char byte;
  EXPECT_LE(recv(client.get(), &byte, 1, 0), 0);
  ASSERT_FALSE((*relay)->path().ok());
  EXPECT_NE((*relay)->path().status().message().find(engine::fabric::ToString(nobody)),
            std::string::npos)
      << (*relay)->path().status();
}

TEST(PinnedRelayTest, AnotherProcessIsTurnedAway) {
  const UniqueFd listener = ListenOnLoopback();
  const auto relay = PinnedRelay::Start(kLoopback, *engine::fabric::LocalEndpoint(listener.get()));
  ASSERT_TRUE(relay.ok()) << relay.status();
  const std::string target = (*relay)->target();
  const pid_t child = fork();
  if (child == 0) {
    const UniqueFd client = ConnectTo(target);
    char byte;
    _exit(recv(client.get(), &byte, 1, 0) == 0 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  fcntl(listener.get(), F_SETFL, O_NONBLOCK);
  EXPECT_LT(accept(listener.get(), nullptr, nullptr), 0) << "nothing reached the remote";
}

}  // namespace
}  // namespace sparkspan::head::cluster
