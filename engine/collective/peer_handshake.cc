#include "engine/collective/peer_handshake.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/collective/peer_proof.h"

namespace sparkspan::engine::collective {
namespace {

constexpr Duration kRetryPause = std::chrono::milliseconds(20);
constexpr std::size_t kIncomingMax = 64;  // Accepted connections that have not said who they are.
constexpr int kRefusalsLogged = 16;       // So that a flood of strangers does not fill the log.
constexpr int kRanksMax = 64;

Time Now() {
  return SteadyClock().Now();
}

// For poll: rounded up, so that a wait is not cut to a busy loop of zero milliseconds.
int PollMilliseconds(Duration left) {
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return static_cast<int>(std::clamp<std::int64_t>(milliseconds, 0, 60'000));
}

// Reads what is there of a record of fixed size. More bytes than the record's are left alone.
template <std::size_t kBytes>
class RecordReader {
 public:
  enum class Progress { kMore, kDone, kEnded };

  Progress Read(int socket) {
    while (filled_ < kBytes) {
      const ssize_t count = recv(socket, bytes_.data() + filled_, kBytes - filled_, 0);
      if (count > 0) {
        filled_ += static_cast<std::size_t>(count);
      } else if (count < 0 && errno == EINTR) {
        continue;
      } else {
        return count < 0 && errno == EAGAIN ? Progress::kMore : Progress::kEnded;
      }
    }
    return Progress::kDone;
  }

  std::span<const std::byte, kBytes> bytes() const { return bytes_; }

 private:
  std::array<std::byte, kBytes> bytes_{};
  std::size_t filled_ = 0;
};

// A record fits into the empty buffer of a new connection: a short write means that it has ended.
template <std::size_t kBytes, typename Record>
bool Send(int socket, const Record& record) {
  std::array<std::byte, kBytes> bytes;
  Encode(record, bytes);
  return send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

void SendWithoutDelay(int socket) {
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

// A lower rank that this one connects to.
struct Outgoing {
  Rank rank;
  Time retry_at{};
  UniqueFd socket;         // Valid while an attempt is under way.
  bool connected = false;  // The hello is sent and the welcome awaited.
  Hello hello;             // What was sent.
  RecordReader<kWelcomeBytes> welcome;
  std::string last_error = "it has not answered";
};

// A connection of somebody who has not said who it is.
struct Incoming {
  fabric::Endpoint peer;
  UniqueFd socket;
  Time deadline;
  RecordReader<kHelloBytes> hello_reader;
  // Once the hello was found good and the welcome sent, until the answer proves it fresh.
  std::optional<Hello> hello;
  Welcome welcome;
  RecordReader<kAnswerBytes> answer_reader;
};

class Handshake {
 public:
  Handshake(const TcpOptions& options, int listener, const AbortSignal& abort)
      : options_(options),
        listener_(listener),
        abort_(abort),
        pin_{options.interface, Own().address},
        connections_(options.endpoints.size()),
        deadline_(Now() + options.connect_timeout) {
    for (int rank = 0; rank < options.rank.value(); ++rank) {
      outgoing_.emplace_back().rank = Rank(rank);
    }
  }

  absl::StatusOr<std::vector<PeerConnection>> Run() {
    while (!Missing().empty()) {
      const Time now = Now();
      if (now >= deadline_) {
        return DeadlineError();
      }
      std::erase_if(incoming_, [&](const Incoming& one) {
        if (now < one.deadline) {
          return false;
        }
        Refuse(one.peer, "it did not say who it is");
        return true;
      });
      for (Outgoing& peer : outgoing_) {
        RETURN_IF_ERROR(StartIfDue(peer, now));
      }
      RETURN_IF_ERROR(WaitAndServe(now));
    }
    std::vector<PeerConnection> peers;
    for (std::optional<PeerConnection>& connection : connections_) {
      if (connection.has_value()) {
        peers.push_back(*std::move(connection));
      }
    }
    return peers;
  }

 private:
  std::size_t Index(Rank rank) const { return static_cast<std::size_t>(rank.value()); }
  const fabric::Endpoint& Own() const { return options_.endpoints[Index(options_.rank)]; }

  // Without nonce and proof.
  Hello SelfTo(Rank peer) const {
    Hello hello;
    hello.epoch = options_.epoch;
    hello.config_hash = options_.config_hash;
    hello.from = options_.rank;
    hello.to = peer;
    hello.ranks = static_cast<std::int32_t>(options_.endpoints.size());
    return hello;
  }

  std::vector<Rank> Missing() const {
    std::vector<Rank> missing;
    for (std::size_t rank = 0; rank < connections_.size(); ++rank) {
      if (!connections_[rank].has_value() && rank != Index(options_.rank)) {
        missing.emplace_back(static_cast<std::int32_t>(rank));
      }
    }
    return missing;
  }

  absl::Status DeadlineError() const {
    std::string names;
    for (const Rank rank : Missing()) {
      names += (names.empty() ? "" : ", ") + PeerName(options_, rank);
      if (rank < options_.rank) {
        names += ": " + outgoing_[Index(rank)].last_error;
      }
    }
    return absl::DeadlineExceededError(absl::StrFormat(
        "rank %d is not connected after %d ms to %s%s%s",
        options_.rank.value(),
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.connect_timeout).count(),
        names,
        last_refusal_.empty() ? "" : "; last refused: ",
        last_refusal_));
  }

  absl::Status StartIfDue(Outgoing& peer, Time now) {
    if (connections_[Index(peer.rank)].has_value() || peer.socket.valid() || now < peer.retry_at) {
      return absl::OkStatus();
    }
    const fabric::Endpoint& endpoint = options_.endpoints[Index(peer.rank)];
    ASSIGN_OR_RETURN(peer.socket, fabric::OpenPinned(pin_, endpoint.address));
    SendWithoutDelay(peer.socket.get());
    peer.connected = false;
    peer.welcome = {};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(endpoint.port);
    address.sin_addr.s_addr = htonl(endpoint.address.bits);
    if (connect(peer.socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 &&
        errno != EINPROGRESS && errno != EINTR) {
      TryAgain(peer, now, std::strerror(errno));
    }
    return absl::OkStatus();
  }

  void TryAgain(Outgoing& peer, Time now, std::string why) {
    peer.socket.Reset();
    peer.retry_at = now + kRetryPause;
    peer.last_error = std::move(why);
  }

  absl::Status WaitAndServe(Time now) {
    Time until = deadline_;
    std::vector<pollfd> entries = {
        {abort_.fd(), POLLIN, 0},
        // A negative descriptor is passed over: no more strangers than there is room for.
        {incoming_.size() < kIncomingMax ? listener_ : -1, POLLIN, 0}};
    for (const Outgoing& peer : outgoing_) {
      const short events = peer.connected ? POLLIN : POLLOUT;
      entries.push_back({peer.socket.get(), events, 0});
      if (!peer.socket.valid() && !connections_[Index(peer.rank)].has_value()) {
        until = std::min(until, peer.retry_at);
      }
    }
    for (const Incoming& one : incoming_) {
      entries.push_back({one.socket.get(), POLLIN, 0});
      until = std::min(until, one.deadline);
    }
    if (poll(entries.data(), entries.size(), PollMilliseconds(until - now)) < 0 && errno != EINTR) {
      return absl::InternalError(absl::StrFormat("poll: %s", std::strerror(errno)));
    }
    RETURN_IF_ERROR(abort_.why());
    for (std::size_t i = 0; i < outgoing_.size(); ++i) {
      if (entries[2 + i].revents != 0) {
        RETURN_IF_ERROR(Serve(outgoing_[i]));
      }
    }
    std::vector<Incoming> waiting = std::exchange(incoming_, {});
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (entries[2 + outgoing_.size() + i].revents == 0) {
        incoming_.push_back(std::move(waiting[i]));
      } else {
        RETURN_IF_ERROR(Serve(std::move(waiting[i])));
      }
    }
    return entries[1].revents != 0 ? Accept() : absl::OkStatus();
  }

  absl::Status Serve(Outgoing& peer) {
    const Time now = Now();
    if (!peer.connected) {
      int fault = 0;
      socklen_t bytes = sizeof(fault);
      getsockopt(peer.socket.get(), SOL_SOCKET, SO_ERROR, &fault, &bytes);
      if (fault != 0) {
        TryAgain(peer, now, std::strerror(fault));
        return absl::OkStatus();
      }
      peer.hello = SelfTo(peer.rank);
      peer.hello.nonce = NewNonce();
      peer.hello.proof = ProveHello(options_.key, peer.hello);
      if (Send<kHelloBytes>(peer.socket.get(), peer.hello)) {
        peer.connected = true;
      } else {
        TryAgain(peer, now, "it closed the connection");
      }
      return absl::OkStatus();
    }
    switch (peer.welcome.Read(peer.socket.get())) {
      case RecordReader<kWelcomeBytes>::Progress::kMore:
        return absl::OkStatus();
      case RecordReader<kWelcomeBytes>::Progress::kEnded:
        // It was not ready, or is of an attempt that is over.
        TryAgain(peer, now, "it closed the connection");
        return absl::OkStatus();
      case RecordReader<kWelcomeBytes>::Progress::kDone:
        break;
    }
    const absl::StatusOr<Welcome> welcome = DecodeWelcome(peer.welcome.bytes());
    if (!welcome.ok()) {
      return absl::FailedPreconditionError(
          absl::StrFormat("%s: %s; another program has this port",
                          PeerName(options_, peer.rank),
                          std::string(welcome.status().message())));
    }
    return Conclude(peer, *welcome, now);
  }

  absl::Status Conclude(Outgoing& peer, const Welcome& welcome, Time now) {
    const Hello self = SelfTo(peer.rank);
    if (welcome.verdict == Verdict::kOtherEpoch && welcome.self.epoch < options_.epoch) {
      // It has not heard of this epoch yet.
      TryAgain(peer, now, Explain(Verdict::kOtherEpoch, self, welcome.self));
      return absl::OkStatus();
    }
    if (welcome.verdict != Verdict::kAccepted) {
      return absl::FailedPreconditionError(
          absl::StrFormat("%s refused rank %d: %s",
                          PeerName(options_, peer.rank),
                          options_.rank.value(),
                          Explain(welcome.verdict, welcome.self, self)));
    }
    Verdict verdict =
        Judge(self,
              welcome.self,
              IsSame(welcome.self.proof, ProveWelcome(options_.key, peer.hello, welcome)));
    if (verdict == Verdict::kAccepted && welcome.self.from != peer.rank) {
      verdict = Verdict::kOtherRanks;
    }
    if (verdict != Verdict::kAccepted) {
      return absl::FailedPreconditionError(absl::StrFormat("%s answered with %s",
                                                           PeerName(options_, peer.rank),
                                                           Explain(verdict, self, welcome.self)));
    }
    const Answer answer{ProveAnswer(options_.key, peer.hello, welcome)};
    if (!Send<kAnswerBytes>(peer.socket.get(), answer)) {
      TryAgain(peer, now, "it closed the connection");
      return absl::OkStatus();
    }
    return Keep(peer.rank, std::move(peer.socket));
  }

  // Proves where the connection lies and keeps it.
  absl::Status Keep(Rank rank, UniqueFd socket) {
    absl::StatusOr<fabric::SocketPath> path = fabric::ProvePath(
        socket.get(), pin_, options_.endpoints[Index(rank)].address, fabric::KernelAddressSource());
    if (!path.ok()) {
      return absl::Status(
          path.status().code(),
          absl::StrFormat(
              "%s: %s", PeerName(options_, rank), std::string(path.status().message())));
    }
    if (path->binding == fabric::Binding::kSourceAddress) {
      LOG(WARNING) << PeerName(options_, rank)
                   << ": the kernel does not let this process bind to the interface; only the "
                      "source address is fixed (grant CAP_NET_RAW)";
    }
    connections_[Index(rank)] = PeerConnection{rank, std::move(socket), *std::move(path)};
    return absl::OkStatus();
  }

  absl::Status Accept() {
    sockaddr_in address{};
    socklen_t bytes = sizeof(address);
    UniqueFd socket(accept4(
        listener_, reinterpret_cast<sockaddr*>(&address), &bytes, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
      const bool passing = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
      return passing ? absl::OkStatus()
                     : absl::UnavailableError(absl::StrFormat("cannot accept a peer at %s: %s",
                                                              fabric::ToString(Own()),
                                                              std::strerror(errno)));
    }
    const fabric::Endpoint peer{{ntohl(address.sin_addr.s_addr)}, ntohs(address.sin_port)};
    const bool declared = std::any_of(
        options_.endpoints.begin() + options_.rank.value() + 1,
        options_.endpoints.end(),
        [&](const fabric::Endpoint& endpoint) { return endpoint.address == peer.address; });
    if (!declared) {
      Refuse(peer, "its address is declared for no higher rank");
      return absl::OkStatus();
    }
    SendWithoutDelay(socket.get());
    if (const absl::Status bound = fabric::BindToPath(socket.get(), pin_); !bound.ok()) {
      Refuse(peer, std::string(bound.message()));
      return absl::OkStatus();
    }
    Incoming& one = incoming_.emplace_back();
    one.peer = peer;
    one.socket = std::move(socket);
    one.deadline = Now() + options_.hello_timeout;
    return absl::OkStatus();
  }

  absl::Status Serve(Incoming one) {
    return one.hello.has_value() ? ServeAnswer(std::move(one)) : ServeHello(std::move(one));
  }

  absl::Status ServeHello(Incoming one) {
    switch (one.hello_reader.Read(one.socket.get())) {
      case RecordReader<kHelloBytes>::Progress::kMore:
        incoming_.push_back(std::move(one));
        return absl::OkStatus();
      case RecordReader<kHelloBytes>::Progress::kEnded:
        Refuse(one.peer, "it left before it said who it is");
        return absl::OkStatus();
      case RecordReader<kHelloBytes>::Progress::kDone:
        break;
    }
    const absl::StatusOr<Hello> hello = DecodeHello(one.hello_reader.bytes());
    if (!hello.ok()) {
      Refuse(one.peer, std::string(hello.status().message()));
      return absl::OkStatus();
    }
    const Hello self = SelfTo(hello->from);
    one.welcome = {JudgeIncoming(self, *hello, one.peer), self};
    if (one.welcome.verdict != Verdict::kAccepted) {
      return RefuseHello(one, *hello);
    }
    one.welcome.self.nonce = NewNonce();
    one.welcome.self.proof = ProveWelcome(options_.key, *hello, one.welcome);
    if (!Send<kWelcomeBytes>(one.socket.get(), one.welcome)) {
      Refuse(one.peer, "it left before it was welcomed");
      return absl::OkStatus();
    }
    one.hello = *hello;
    incoming_.push_back(std::move(one));
    return absl::OkStatus();
  }

  absl::Status RefuseHello(const Incoming& one, const Hello& hello) {
    Send<kWelcomeBytes>(one.socket.get(), one.welcome);
    const std::string why = Explain(one.welcome.verdict, one.welcome.self, hello);
    Refuse(one.peer, why);
    switch (one.welcome.verdict) {
      case Verdict::kOtherConfig:
      case Verdict::kOtherRanks:
      case Verdict::kOtherAddress:
        // It knows the key: a peer that can never fit, not a stranger to wait past.
        return absl::FailedPreconditionError(absl::StrFormat(
            "rank %d refused the peer at %s: %s", options_.rank.value(), ToString(one.peer), why));
      default:
        return absl::OkStatus();
    }
  }

  absl::Status ServeAnswer(Incoming one) {
    switch (one.answer_reader.Read(one.socket.get())) {
      case RecordReader<kAnswerBytes>::Progress::kMore:
        incoming_.push_back(std::move(one));
        return absl::OkStatus();
      case RecordReader<kAnswerBytes>::Progress::kEnded:
        Refuse(one.peer, "it left before it answered the welcome");
        return absl::OkStatus();
      case RecordReader<kAnswerBytes>::Progress::kDone:
        break;
    }
    const absl::StatusOr<Answer> answer = DecodeAnswer(one.answer_reader.bytes());
    if (!answer.ok()) {
      Refuse(one.peer, std::string(answer.status().message()));
    } else if (!IsSame(answer->proof, ProveAnswer(options_.key, *one.hello, one.welcome))) {
      Refuse(one.peer, "its answer does not prove that it knows the session key");
    } else if (connections_[Index(one.hello->from)].has_value()) {
      Refuse(one.peer, Explain(Verdict::kAlreadyConnected, one.welcome.self, *one.hello));
    } else {
      return Keep(one.hello->from, std::move(one.socket));
    }
    return absl::OkStatus();
  }

  Verdict JudgeIncoming(const Hello& self, const Hello& peer, const fabric::Endpoint& from) const {
    const Verdict verdict = Judge(self, peer, IsSame(peer.proof, ProveHello(options_.key, peer)));
    if (verdict != Verdict::kAccepted) {
      return verdict;
    }
    if (peer.from < self.from) {
      return Verdict::kOtherRanks;  // This rank connects to the lower ones.
    }
    if (options_.endpoints[Index(peer.from)].address != from.address) {
      return Verdict::kOtherAddress;
    }
    return connections_[Index(peer.from)].has_value() ? Verdict::kAlreadyConnected
                                                      : Verdict::kAccepted;
  }

  void Refuse(const fabric::Endpoint& peer, const std::string& why) {
    last_refusal_ = absl::StrFormat("%s: %s", fabric::ToString(peer), why);
    if (++refusals_ <= kRefusalsLogged) {
      LOG(WARNING) << "rank " << options_.rank << " refused a connection from " << last_refusal_;
    }
  }

  const TcpOptions& options_;
  const int listener_;
  const AbortSignal& abort_;
  const fabric::DeclaredPin pin_;
  std::vector<std::optional<PeerConnection>> connections_;  // [ranks]; never this rank's
  const Time deadline_;
  std::vector<Outgoing> outgoing_;  // [rank]
  std::vector<Incoming> incoming_;
  std::string last_refusal_;
  int refusals_ = 0;
};

}  // namespace

absl::Status Validate(const TcpOptions& options) {
  const std::size_t ranks = options.endpoints.size();
  if (ranks < 1 || ranks > kRanksMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("endpoints: %d ranks; a group has 1 to %d", ranks, kRanksMax));
  }
  if (options.rank.value() < 0 || static_cast<std::size_t>(options.rank.value()) >= ranks) {
    return absl::InvalidArgumentError(
        absl::StrFormat("rank: %d is none of %d ranks", options.rank.value(), ranks));
  }
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const fabric::Endpoint& endpoint = options.endpoints[rank];
    if (endpoint.address.IsWildcard() || endpoint.port == 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("endpoints[%d]: %s is no address and port to connect to",
                          rank,
                          fabric::ToString(endpoint)));
    }
    if (std::count(options.endpoints.begin(), options.endpoints.end(), endpoint) > 1) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "endpoints[%d]: %s belongs to two ranks", rank, fabric::ToString(endpoint)));
    }
  }
  return absl::OkStatus();
}

std::string PeerName(const TcpOptions& options, Rank peer) {
  return absl::StrFormat(
      "rank %d (%s, interface %s)",
      peer.value(),
      fabric::ToString(options.endpoints[static_cast<std::size_t>(peer.value())]),
      options.interface);
}

absl::StatusOr<std::vector<PeerConnection>> ConnectPeers(const TcpOptions& options,
                                                         int listener,
                                                         const AbortSignal& abort) {
  RETURN_IF_ERROR(Validate(options));
  return Handshake(options, listener, abort).Run();
}

}  // namespace sparkspan::engine::collective
