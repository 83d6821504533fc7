#include "head/cluster/pinned_relay.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "head/cluster/session_key.h"

namespace sparkspan::head::cluster {
namespace {

using engine::UniqueFd;
using engine::fabric::SocketPath;

constexpr std::size_t kBufferBytes = 64 << 10;
constexpr std::chrono::seconds kConnectTimeout{5};
constexpr int kPollTimeoutMs =
    std::chrono::milliseconds(engine::fabric::PinNews::kLookInterval).count();

absl::Status SystemError(const char* what) {
  return absl::UnavailableError(absl::StrFormat("relay: %s: %s", what, std::strerror(errno)));
}

// A name that no other process of this machine can guess.
std::string UnguessableName() {
  std::string name = "sparkspan-";
  for (const char byte : NewSessionKey().substr(0, 16)) {
    name += absl::StrFormat("%02x", static_cast<unsigned char>(byte));
  }
  return name;
}

absl::StatusOr<UniqueFd> ListenAbstract(const std::string& name) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  CHECK_LT(name.size() + 1, sizeof(address.sun_path));
  std::copy(name.begin(), name.end(), address.sun_path + 1);
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (!socket.valid() ||
      bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), bytes) != 0 ||
      listen(socket.get(), static_cast<int>(PinnedRelay::kConnectionsMax)) != 0) {
    return SystemError("cannot listen on a unix socket");
  }
  return socket;
}

bool IsOwnProcess(int socket) {
  ucred peer{};
  socklen_t bytes = sizeof(peer);
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 && peer.pid == getpid();
}

// Bytes on their way from one socket to another, added to `carried` once they are through.
class Flow {
 public:
  Flow(int from, int to, std::atomic<std::uint64_t>& carried)
      : from_(from), to_(to), carried_(carried), buffer_(kBufferBytes) {}

  short FromEvents() const { return !ended_ && end_ < buffer_.size() ? POLLIN : 0; }
  short ToEvents() const { return begin_ < end_ ? POLLOUT : 0; }
  // The source has ended and its last byte is through.
  bool done() const { return ended_ && begin_ == end_; }

  // Moves what can be moved without waiting. False when a socket broke.
  bool Move() {
    if (!ended_ && end_ < buffer_.size()) {
      const ssize_t got = recv(from_, buffer_.data() + end_, buffer_.size() - end_, 0);
      if (got == 0) {
        ended_ = true;
      } else if (got > 0) {
        end_ += static_cast<std::size_t>(got);
      } else if (errno != EAGAIN && errno != EINTR) {
        return false;
      }
    }
    if (begin_ < end_) {
      const ssize_t sent = send(to_, buffer_.data() + begin_, end_ - begin_, MSG_NOSIGNAL);
      if (sent > 0) {
        begin_ += static_cast<std::size_t>(sent);
        carried_ += static_cast<std::uint64_t>(sent);
      } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        return false;
      }
    }
    if (begin_ == end_) {
      begin_ = end_ = 0;
      if (ended_ && !closed_) {
        closed_ = true;
        shutdown(to_, SHUT_WR);
      }
    }
    return true;
  }

 private:
  int from_;
  int to_;
  std::atomic<std::uint64_t>& carried_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool ended_ = false;
  bool closed_ = false;
};

}  // namespace

class PinnedRelay::Connection {
 public:
  Connection(PinnedRelay& relay, UniqueFd client, UniqueFd remote, engine::Time deadline)
      : client_(std::move(client)),
        remote_(std::move(remote)),
        deadline_(deadline),
        up_(client_.get(), remote_.get(), relay.sent_bytes_),
        down_(remote_.get(), client_.get(), relay.received_bytes_) {}

  int remote() const { return remote_.get(); }
  bool connected() const { return connected_; }
  void MarkConnected() { connected_ = true; }
  bool expired(engine::Time now) const { return !connected_ && now >= deadline_; }

  std::array<pollfd, 2> Polled() const {
    if (!connected_) {
      return {pollfd{-1, 0, 0}, pollfd{remote_.get(), POLLOUT, 0}};
    }
    const auto client = static_cast<short>(up_.FromEvents() | down_.ToEvents());
    const auto remote = static_cast<short>(down_.FromEvents() | up_.ToEvents());
    // Without wanted events a socket that hung up would wake the loop for ever.
    return {pollfd{client == 0 ? -1 : client_.get(), client, 0},
            pollfd{remote == 0 ? -1 : remote_.get(), remote, 0}};
  }

  // False when the connection is over: both directions are, or the client is gone and all it said
  // is through. A remote that is stopped would never end its own direction.
  bool Move() {
    return up_.Move() && down_.Move() && !(up_.done() && (down_.done() || IsClientGone()));
  }

 private:
  // Unlike a client that has only shut down its sending side.
  bool IsClientGone() const {
    pollfd client{client_.get(), 0, 0};
    return poll(&client, 1, 0) == 1 && (client.revents & (POLLHUP | POLLERR)) != 0;
  }

  UniqueFd client_;
  UniqueFd remote_;
  engine::Time deadline_;
  bool connected_ = false;
  Flow up_;    // client to remote
  Flow down_;  // remote to client
};

absl::StatusOr<std::unique_ptr<PinnedRelay>> PinnedRelay::Start(
    const engine::fabric::DeclaredPin& pin, const engine::fabric::Endpoint& remote) {
  const std::string name = UnguessableName();
  ASSIGN_OR_RETURN(UniqueFd listener, ListenAbstract(name));
  ASSIGN_OR_RETURN(engine::StopEvent stop, engine::StopEvent::Create());
  ASSIGN_OR_RETURN(engine::fabric::PinNews pin_news, engine::fabric::PinNews::Open({pin}));
  return std::unique_ptr<PinnedRelay>(new PinnedRelay(
      pin, remote, name, std::move(listener), std::move(pin_news), std::move(stop)));
}

PinnedRelay::PinnedRelay(engine::fabric::DeclaredPin pin,
                         engine::fabric::Endpoint remote,
                         std::string name,
                         UniqueFd listener,
                         engine::fabric::PinNews pin_news,
                         engine::StopEvent stop)
    : pin_(std::move(pin)),
      pin_news_(std::move(pin_news)),
      remote_(remote),
      name_(std::move(name)),
      listener_(std::move(listener)),
      stop_(std::move(stop)),
      path_(absl::UnavailableError("no connection has been made yet")) {
  if (const std::string& fault = pin_news_.states()[0].fault(); !fault.empty() && !IsLocal()) {
    path_ = absl::UnavailableError(fault);
  }
  thread_ = engine::Thread("relay", [this] { Run(); });
}

PinnedRelay::~PinnedRelay() {
  stop_.Set();
  thread_.Join();
}

absl::StatusOr<SocketPath> PinnedRelay::path() const {
  const std::lock_guard lock(mutex_);
  return path_;
}

void PinnedRelay::Run() {
  while (true) {
    const bool full = connections_.size() >= kConnectionsMax;
    std::vector<pollfd> polled = {{stop_.fd(), POLLIN, 0},
                                  {full ? -1 : listener_.get(), POLLIN, 0},
                                  {pin_news_.fd(), POLLIN, 0}};
    const std::size_t first_connection = polled.size();
    for (const auto& connection : connections_) {
      const auto pair = connection->Polled();
      polled.insert(polled.end(), pair.begin(), pair.end());
    }
    poll(polled.data(), polled.size(), kPollTimeoutMs);
    if (polled[0].revents != 0) {
      return;
    }
    std::vector<std::unique_ptr<Connection>> kept;
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      const std::size_t at = first_connection + 2 * i;
      const bool ready = polled[at].revents != 0 || polled[at + 1].revents != 0;
      if (ready ? Advance(*connections_[i])
                : !connections_[i]->expired(std::chrono::steady_clock::now())) {
        kept.push_back(std::move(connections_[i]));
      }
    }
    connections_ = std::move(kept);
    TakePinNews();
    if (polled[1].revents != 0) {
      Accept();
    }
  }
}

void PinnedRelay::TakePinNews() {
  for (const engine::fabric::PinChange& change : pin_news_.Take(std::chrono::steady_clock::now())) {
    if (IsLocal()) {
      continue;
    }
    if (change.fault.empty()) {
      LOG(INFO) << "interface " << pin_.interface << " is as declared again";
      SetPath(absl::UnavailableError(absl::StrFormat(
          "no connection has been made since interface %s is as declared", pin_.interface)));
      continue;
    }
    LOG(ERROR) << change.fault << "; connections to " << engine::fabric::ToString(remote_)
               << " end";
    // Before they do: a client that sees its connection end must find the reason here.
    SetPath(absl::UnavailableError(change.fault));
    connections_.clear();
  }
}

void PinnedRelay::SetPath(absl::StatusOr<SocketPath> path) {
  const std::lock_guard lock(mutex_);
  path_ = std::move(path);
}

bool PinnedRelay::Advance(Connection& connection) {
  if (connection.connected()) {
    return connection.Move();
  }
  int fault = 0;
  socklen_t bytes = sizeof(fault);
  getsockopt(connection.remote(), SOL_SOCKET, SO_ERROR, &fault, &bytes);
  absl::StatusOr<SocketPath> path =
      fault != 0
          ? absl::UnavailableError(absl::StrFormat("cannot connect to %s from %s on %s: %s",
                                                   engine::fabric::ToString(remote_),
                                                   engine::fabric::ToString(pin_.address),
                                                   pin_.interface,
                                                   std::strerror(fault)))
          : engine::fabric::ProvePath(
                connection.remote(), pin_, remote_.address, engine::fabric::KernelAddressSource());
  const bool proven = path.ok();
  SetPath(std::move(path));
  if (proven) {
    connection.MarkConnected();
  }
  return proven;
}

void PinnedRelay::Accept() {
  UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client.valid() || !IsOwnProcess(client.get())) {
    return;
  }
  if (!pin_news_.states()[0].fault().empty() && !IsLocal()) {
    return;  // path_ has the reason.
  }
  absl::StatusOr<UniqueFd> remote = engine::fabric::OpenPinned(pin_, remote_.address);
  if (remote.ok()) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(remote_.port);
    address.sin_addr.s_addr = htonl(remote_.address.bits);
    if (connect(remote->get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 &&
        errno != EINPROGRESS) {
      remote = SystemError("cannot connect");
    }
  }
  if (!remote.ok()) {
    SetPath(remote.status());
    return;
  }
  connections_.push_back(
      std::make_unique<Connection>(*this,
                                   std::move(client),
                                   *std::move(remote),
                                   std::chrono::steady_clock::now() + kConnectTimeout));
}

}  // namespace sparkspan::head::cluster
