#include "engine/collective/tcp_communicator.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/collective/blamed_peer.h"
#include "engine/collective/tcp_path.h"

namespace sparkspan::engine::collective {
namespace {

constexpr int kBacklog = 128;

// Rounds without any progress before a rank sleeps in poll. Each gives the core away, so that ranks
// that share one do not wait for each other's time slice.
constexpr int kIdleRoundsMax = 64;

// A rank that waits for its peers looks this often in a silence limit whether they can be reached.
constexpr int kPathLooks = 8;

// Values added at once: a part of each rank stays in the first-level cache.
constexpr std::size_t kSumBlock = 1024;

// io = ((parts[0] + parts[1]) + parts[2]) + ..., each of io.size() values; io may be one of them.
void SumInRankOrder(std::span<const float* const> parts, std::span<float> io) {
  std::array<float, kSumBlock> sum;
  for (std::size_t begin = 0; begin < io.size(); begin += kSumBlock) {
    const std::size_t count = std::min(kSumBlock, io.size() - begin);
    std::copy_n(parts[0] + begin, count, sum.begin());
    for (std::size_t rank = 1; rank < parts.size(); ++rank) {
      const float* part = parts[rank] + begin;
      for (std::size_t i = 0; i < count; ++i) {
        sum[i] += part[i];
      }
    }
    std::copy_n(sum.begin(), count, io.begin() + static_cast<std::ptrdiff_t>(begin));
  }
}

// Header and payload, of which the first `done` bytes are through.
template <typename Byte>
std::array<iovec, 2> Remaining(std::span<std::byte> header,
                               std::span<Byte> payload,
                               std::size_t done) {
  const std::size_t of_header = std::min(done, header.size());
  const std::span<std::byte> head = header.subspan(of_header);
  const std::span<Byte> body = payload.subspan(done - of_header);
  return {{{head.data(), head.size()}, {const_cast<std::byte*>(body.data()), body.size()}}};
}

absl::Status ConnectionEnded() {
  return absl::UnavailableError(
      "it closed the connection: it ended, or gave up after losing another rank");
}

}  // namespace

// A connection and the message that is under way on it in each direction.
class TcpCommunicator::Peer {
 public:
  explicit Peer(PeerConnection connection) : connection_(std::move(connection)) {}

  Rank rank() const { return connection_.rank; }
  int socket() const { return connection_.socket.get(); }

  void Begin(const MessageHeader& header,
             std::span<const std::byte> out,
             const MessageHeader& expected,
             std::span<std::byte> in) {
    Encode(header, header_out_);
    out_ = out;
    expected_ = expected;
    in_ = in;
    sent_ = 0;
    received_ = 0;
  }

  bool sending() const { return sent_ < kHeaderBytes + out_.size(); }
  bool receiving() const { return received_ < kHeaderBytes + in_.size(); }

  // Moves what the socket takes and has, and says whether anything moved. An error has no name of
  // the peer yet.
  absl::StatusOr<bool> Move() {
    ASSIGN_OR_RETURN(const bool sent, TrySend());
    ASSIGN_OR_RETURN(const bool received, TryReceive());
    return sent || received;
  }

  void Shutdown() const { shutdown(socket(), SHUT_RDWR); }

  PeerTraffic traffic() const {
    return {connection_.rank,
            connection_.path,
            sent_bytes_.load(std::memory_order_relaxed),
            received_bytes_.load(std::memory_order_relaxed)};
  }

 private:
  absl::StatusOr<bool> TrySend() {
    if (!sending()) {
      return false;
    }
    std::array<iovec, 2> pieces = Remaining<const std::byte>(header_out_, out_, sent_);
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    const ssize_t count = sendmsg(socket(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) {
      return Blocked("send to it");
    }
    sent_ += static_cast<std::size_t>(count);
    sent_bytes_.fetch_add(static_cast<std::uint64_t>(count), std::memory_order_relaxed);
    return true;
  }

  absl::StatusOr<bool> TryReceive() {
    if (!receiving()) {
      return false;
    }
    // No more than this message: the next may already lie behind it.
    std::array<iovec, 2> pieces = Remaining<std::byte>(header_in_, in_, received_);
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    const ssize_t count = recvmsg(socket(), &message, MSG_DONTWAIT);
    if (count < 0) {
      return Blocked("receive from it");
    }
    if (count == 0) {
      return ConnectionEnded();
    }
    const bool header_was_open = received_ < kHeaderBytes;
    received_ += static_cast<std::size_t>(count);
    received_bytes_.fetch_add(static_cast<std::uint64_t>(count), std::memory_order_relaxed);
    if (header_was_open && received_ >= kHeaderBytes) {
      RETURN_IF_ERROR(CheckHeader(header_in_, expected_));
    }
    return true;
  }

  static absl::StatusOr<bool> Blocked(const char* what) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
      return false;
    }
    return absl::UnavailableError(absl::StrFormat("cannot %s: %s", what, std::strerror(errno)));
  }

  PeerConnection connection_;
  std::array<std::byte, kHeaderBytes> header_out_{};
  std::array<std::byte, kHeaderBytes> header_in_{};
  MessageHeader expected_;
  std::span<const std::byte> out_;
  std::span<std::byte> in_;
  std::size_t sent_ = 0;  // Header included, as received_.
  std::size_t received_ = 0;
  std::atomic<std::uint64_t> sent_bytes_{0};
  std::atomic<std::uint64_t> received_bytes_{0};
};

absl::StatusOr<TcpListener> TcpListener::Open(const fabric::DeclaredPin& pin,
                                              std::uint16_t port,
                                              fabric::LocalPeers local_peers) {
  ASSIGN_OR_RETURN(UniqueFd socket, fabric::ListenPinned(pin, port, local_peers, kBacklog));
  ASSIGN_OR_RETURN(const fabric::Endpoint endpoint, fabric::LocalEndpoint(socket.get()));
  return TcpListener(std::move(socket), endpoint);
}

TcpCommunicator::TcpCommunicator(TcpOptions options)
    : options_(std::move(options)),
      tag_{options_.epoch, Step(0)},
      received_(options_.endpoints.size()) {}

TcpCommunicator::~TcpCommunicator() = default;

absl::Status TcpCommunicator::Connect(const TcpListener& listener) {
  CHECK(peers_.empty()) << "a communicator connects once";
  absl::StatusOr<std::vector<PeerConnection>> connections =
      ConnectPeers(options_, listener.fd(), abort_);
  if (!connections.ok()) {
    Abort(connections.status());
    return abort_.why();
  }
  const std::lock_guard lock(mutex_);
  // An abort between the last connection and here has found no peers to shut down; the connections
  // end with this function.
  RETURN_IF_ERROR(abort_.why());
  for (PeerConnection& connection : *connections) {
    peers_.push_back(std::make_unique<Peer>(std::move(connection)));
  }
  return absl::OkStatus();
}

void TcpCommunicator::Abort(absl::Status why) {
  const std::lock_guard lock(mutex_);
  abort_.Raise(std::move(why));
  for (const std::unique_ptr<Peer>& peer : peers_) {
    peer->Shutdown();
  }
}

std::vector<PeerTraffic> TcpCommunicator::Traffic() const {
  const std::lock_guard lock(mutex_);
  std::vector<PeerTraffic> traffic;
  for (const std::unique_ptr<Peer>& peer : peers_) {
    traffic.push_back(peer->traffic());
  }
  return traffic;
}

absl::Status TcpCommunicator::AllReduceSum(std::span<float> io) {
  const std::size_t own = static_cast<std::size_t>(rank().value());
  std::vector<std::span<std::byte>> parts(received_.size());
  std::vector<const float*> values(received_.size(), io.data());
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    if (rank != own) {
      if (received_[rank].size() < io.size()) {
        received_[rank].resize(io.size());
      }
      parts[rank] = std::as_writable_bytes(std::span(received_[rank]).first(io.size()));
      values[rank] = received_[rank].data();
    }
  }
  RETURN_IF_ERROR(Exchange(Operation::kAllReduceSum, std::as_bytes(io), parts));
  SumInRankOrder(values, io);
  return absl::OkStatus();
}

absl::Status TcpCommunicator::AllGather(std::span<const std::byte> part,
                                        std::span<const std::size_t> part_bytes,
                                        std::span<std::byte> whole) {
  CHECK_EQ(part_bytes.size(), received_.size());
  const std::size_t own = static_cast<std::size_t>(rank().value());
  CHECK_EQ(part.size(), part_bytes[own]);
  std::vector<std::span<std::byte>> parts(part_bytes.size());
  std::size_t offset = 0;
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    CHECK_LE(part_bytes[rank], whole.size() - offset);
    parts[rank] = whole.subspan(offset, part_bytes[rank]);
    offset += part_bytes[rank];
  }
  CHECK_EQ(offset, whole.size());
  if (!part.empty() && parts[own].data() != part.data()) {
    std::memcpy(parts[own].data(), part.data(), part.size());
  }
  return Exchange(Operation::kAllGather, part, parts);
}

absl::Status TcpCommunicator::CheckReady() const {
  RETURN_IF_ERROR(abort_.why());
  CHECK_EQ(peers_.size() + 1, options_.endpoints.size());  // Connect comes first.
  if (tag_.epoch != options_.epoch) {
    return absl::FailedPreconditionError(
        absl::StrFormat("a step of epoch %d on the connections of epoch %d",
                        tag_.epoch.value(),
                        options_.epoch.value()));
  }
  return absl::OkStatus();
}

absl::Status TcpCommunicator::Exchange(Operation operation,
                                       std::span<const std::byte> part,
                                       std::span<const std::span<std::byte>> parts) {
  RETURN_IF_ERROR(CheckReady());
  MessageHeader header;
  header.operation = operation;
  header.from = rank();
  header.epoch = tag_.epoch;
  header.step = tag_.step;
  header.sequence = ++sequence_;
  header.payload_bytes = part.size();
  for (const std::unique_ptr<Peer>& peer : peers_) {
    const std::span<std::byte> in = parts[static_cast<std::size_t>(peer->rank().value())];
    MessageHeader expected = header;
    expected.from = peer->rank();
    expected.payload_bytes = in.size();
    peer->Begin(header, part, expected, in);
  }
  const absl::Status status = Transfer(SteadyClock().Now() + options_.exchange_timeout);
  if (!status.ok()) {
    // Half a message may be on the wire: nothing can follow it. Also how peers notice. An abort of
    // another thread has come first and stays the reason.
    Abort(status);
    return abort_.why();
  }
  return absl::OkStatus();
}

absl::Status TcpCommunicator::NameLost(const Peer& peer, const absl::Status& status) const {
  return BlamePeer(
      absl::Status(status.code(),
                   absl::StrFormat(
                       "%s: %s", PeerName(options_, peer.rank()), std::string(status.message()))),
      peer.rank());
}

absl::Status TcpCommunicator::CheckPaths(Duration sending) const {
  for (const std::unique_ptr<Peer>& peer : peers_) {
    const absl::StatusOr<TcpAcknowledgement> found = ReadAcknowledgement(peer->socket());
    if (found.ok() && IsPathCut(*found, sending, options_.silence_limit)) {
      return NameLost(
          *peer,
          absl::UnavailableError(absl::StrFormat(
              "out of reach: %d retransmissions and no acknowledgement for %d ms; the link is cut "
              "or the machine is down",
              found->retransmissions,
              std::chrono::duration_cast<std::chrono::milliseconds>(found->since_last).count())));
    }
  }
  return absl::OkStatus();
}

absl::Status TcpCommunicator::Transfer(Time deadline) {
  int idle_rounds = 0;
  while (true) {
    bool moved = false;
    bool busy = false;
    for (const std::unique_ptr<Peer>& peer : peers_) {
      if (!peer->sending() && !peer->receiving()) {
        continue;
      }
      const absl::StatusOr<bool> progress = peer->Move();
      if (!progress.ok()) {
        return NameLost(*peer, progress.status());
      }
      moved = moved || *progress;
      busy = busy || peer->sending() || peer->receiving();
    }
    if (!busy) {
      return absl::OkStatus();
    }
    idle_rounds = moved ? 0 : idle_rounds + 1;
    const Time now = SteadyClock().Now();
    if (idle_rounds <= kIdleRoundsMax && now < deadline) {
      if (!moved) {
        std::this_thread::yield();
      }
      continue;
    }
    RETURN_IF_ERROR(WaitForPeers(now, deadline));
    // Bytes came: more are likely on their way.
    idle_rounds = 0;
  }
}

absl::Status TcpCommunicator::WaitForPeers(Time now, Time deadline) {
  // Peers whose part of this exchange is through are watched too: when one ends, another that
  // waits for it will never send.
  std::vector<pollfd> entries = {{abort_.fd(), POLLIN, 0}};
  std::string late;
  for (const std::unique_ptr<Peer>& peer : peers_) {
    const int events = (peer->sending() ? POLLOUT : 0) | (peer->receiving() ? POLLIN : 0);
    entries.push_back({peer->socket(), static_cast<short>(events == 0 ? POLLRDHUP : events), 0});
    if (events != 0) {
      late += (late.empty() ? "" : ", ") + PeerName(options_, peer->rank());
    }
  }
  if (now >= deadline) {
    return absl::DeadlineExceededError(absl::StrFormat(
        "%s: no answer in step %d, exchange %d, within %d ms",
        late,
        tag_.step.value(),
        sequence_,
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.exchange_timeout).count()));
  }
  const Duration wait = std::min<Duration>(deadline - now, options_.silence_limit / kPathLooks);
  const int timeout_ms =
      static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(wait).count());
  const int ready = poll(entries.data(), entries.size(), timeout_ms);
  if (ready < 0 && errno != EINTR) {
    return absl::InternalError(absl::StrFormat("poll: %s", std::strerror(errno)));
  }
  RETURN_IF_ERROR(abort_.why());
  if (ready == 0) {
    return CheckPaths(SteadyClock().Now() - (deadline - options_.exchange_timeout));
  }
  const Peer* ended = nullptr;
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    if (entries[i + 1].revents == 0) {
      continue;
    }
    if (peers_[i]->sending() || peers_[i]->receiving()) {
      return absl::OkStatus();  // There is something to move, or to find out by moving.
    }
    ended = peers_[i].get();
  }
  return ended == nullptr ? absl::OkStatus() : NameLost(*ended, ConnectionEnded());
}

}  // namespace sparkspan::engine::collective
