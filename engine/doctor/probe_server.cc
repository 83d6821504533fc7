#include "engine/doctor/probe_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/doctor/probe_connection.h"
#include "engine/fabric/pinned_socket.h"

namespace sparkspan::engine::doctor {
namespace {

constexpr int kBacklog = 8;
constexpr std::int64_t kTokenBytesMax = 256;
constexpr std::chrono::seconds kSessionMax{60};
constexpr std::chrono::seconds kCallBackTimeout{2};
constexpr std::chrono::seconds kFrameTimeout{10};
constexpr int kIdleMaxMs = 20'000;
constexpr int kPollTimeoutMs = 10'000;

std::int64_t UnixMilliseconds() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// 0: that is none.
std::uint16_t ParsePort(const std::string& text) {
  std::uint16_t port = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), port);
  return fault != std::errc() || end != text.data() + text.size() ? 0 : port;
}

}  // namespace

// One connection, from the doctor that probes.
class ProbeServer::Session {
 public:
  Session(const ProbeServer& server,
          const fabric::DeclaredPin& pin,
          fabric::Ipv4Address peer,
          UniqueFd socket)
      : server_(server), pin_(pin), peer_(peer), connection_(std::move(socket)) {}

  // Until the other side is done or away, asks for what it may not, or takes too long.
  void Run() {
    const Time deadline = std::chrono::steady_clock::now() + kSessionMax;
    // Who has not shown the token yet gets no memory for more than one.
    absl::StatusOr<ProbeConnection::Frame> frame = Next(deadline, kTokenBytesMax);
    if (!frame.ok() || frame->request != ProbeRequest::kOpen ||
        frame->payload != server_.options_.token) {
      server_.LogRefusal(absl::StrFormat("a probe from %s without the right token is not answered",
                                         ToString(peer_)));
      return;
    }
    while (frame.ok()) {
      absl::StatusOr<std::string> answer = AnswerTo(*frame);
      if (!answer.ok() || !connection_.Send(frame->request, *answer, deadline).ok()) {
        return;
      }
      frame = Next(deadline);
    }
  }

 private:
  // The next request, unless the server stops first.
  absl::StatusOr<ProbeConnection::Frame> Next(Time deadline,
                                              std::int64_t bytes_max = kProbeBytesMax) {
    pollfd polled[] = {{server_.stop_.fd(), POLLIN, 0}, {connection_.fd(), POLLIN, 0}};
    poll(polled, 2, kIdleMaxMs);
    if (polled[0].revents != 0 || polled[1].revents == 0) {
      return absl::CancelledError("nothing was asked in time");
    }
    return connection_.Receive(std::min(deadline, std::chrono::steady_clock::now() + kFrameTimeout),
                               bytes_max);
  }

  absl::StatusOr<std::string> AnswerTo(const ProbeConnection::Frame& frame) {
    switch (frame.request) {
      case ProbeRequest::kFacts: {
        ASSIGN_OR_RETURN(PeerFacts facts, server_.options_.facts());
        facts.unix_milliseconds = UnixMilliseconds();
        return ToJson(facts);
      }
      case ProbeRequest::kEcho:
        return frame.payload;
      case ProbeRequest::kOpen:
      case ProbeRequest::kTransfer:
        return "";
      case ProbeRequest::kCallBack:
        return CallBack(ParsePort(frame.payload));
      case ProbeRequest::kListen:
        return Listen(ParsePort(frame.payload));
    }
    return absl::InvalidArgumentError("a request of no kind");
  }

  // Both answer nothing, or why not.
  std::string CallBack(std::uint16_t port) const {
    if (port == 0) {
      return kNoPort;
    }
    const Time deadline = std::chrono::steady_clock::now() + kCallBackTimeout;
    const absl::Status status = ProbeConnection::Connect(pin_, {peer_, port}, deadline).status();
    return std::string(status.message());
  }

  std::string Listen(std::uint16_t port) {
    if (port == 0) {
      return kNoPort;
    }
    absl::StatusOr<UniqueFd> listener =
        fabric::ListenPinned(pin_, port, fabric::LocalPeers::kNone, /*backlog=*/1);
    if (!listener.ok()) {
      return std::string(listener.status().message());
    }
    listener_ = *std::move(listener);
    return "";
  }

  static constexpr const char* kNoPort = "that is no port";

  const ProbeServer& server_;
  const fabric::DeclaredPin& pin_;
  const fabric::Ipv4Address peer_;
  ProbeConnection connection_;
  UniqueFd listener_;
};

absl::StatusOr<std::unique_ptr<ProbeServer>> ProbeServer::Start(const config::ClusterConfig& config,
                                                                const config::NodeConfig& node,
                                                                ProbeServerOptions options) {
  ASSIGN_OR_RETURN(const PeerFacts facts, options.facts());
  std::vector<std::pair<fabric::DeclaredPin, int>> pins = {{node.control, 0}, {node.bootstrap, 0}};
  for (const RailFacts& rail : facts.rails) {
    pins.emplace_back(rail.pin, rail.prefix_length);
  }
  std::vector<Plane> planes;
  for (const auto& [pin, prefix_length] : pins) {
    const auto known = std::find_if(planes.begin(), planes.end(), [&pin = pin](const Plane& plane) {
      return plane.pin == pin;
    });
    if (known != planes.end()) {
      known->rail_prefix_length = std::max(known->rail_prefix_length, prefix_length);
      continue;
    }
    ASSIGN_OR_RETURN(UniqueFd listener,
                     fabric::ListenPinned(pin, options.port, fabric::LocalPeers::kNone, kBacklog));
    planes.push_back({pin, prefix_length, std::move(listener)});
  }
  std::vector<fabric::Ipv4Address> peers;
  for (const config::NodeConfig& peer : config.nodes) {
    if (peer.name != node.name) {
      peers.push_back(peer.control.address);
      peers.push_back(peer.bootstrap.address);
    }
  }
  ASSIGN_OR_RETURN(StopEvent stop, StopEvent::Create());
  return std::unique_ptr<ProbeServer>(
      new ProbeServer(std::move(planes), std::move(peers), std::move(options), std::move(stop)));
}

ProbeServer::ProbeServer(std::vector<Plane> planes,
                         std::vector<fabric::Ipv4Address> peers,
                         ProbeServerOptions options,
                         StopEvent stop)
    : planes_(std::move(planes)),
      peers_(std::move(peers)),
      options_(std::move(options)),
      stop_(std::move(stop)) {
  for (const Plane& plane : planes_) {
    threads_.emplace_back("probe", [this, &plane] { Run(plane); });
  }
}

ProbeServer::~ProbeServer() {
  stop_.Set();
  threads_.clear();
}

void ProbeServer::Run(const Plane& plane) const {
  while (true) {
    pollfd polled[] = {{stop_.fd(), POLLIN, 0}, {plane.listener.get(), POLLIN, 0}};
    poll(polled, 2, kPollTimeoutMs);
    if (polled[0].revents != 0) {
      return;
    }
    UniqueFd socket(accept4(plane.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.valid()) {
      Answer(plane, std::move(socket));
    }
  }
}

bool ProbeServer::MayAsk(const Plane& plane, fabric::Ipv4Address peer) const {
  const int bits = plane.rail_prefix_length;
  return !options_.token.empty() || std::find(peers_.begin(), peers_.end(), peer) != peers_.end() ||
         (bits > 0 && NetworkOf(peer, bits) == NetworkOf(plane.pin.address, bits));
}

// Whoever reaches the port can cause it as often as he likes.
void ProbeServer::LogRefusal(std::string text) const {
  refusals_.Warn(std::move(text), std::chrono::steady_clock::now());
}

void ProbeServer::Answer(const Plane& plane, UniqueFd socket) const {
  const absl::StatusOr<fabric::Endpoint> peer = fabric::PeerEndpoint(socket.get());
  if (!peer.ok() || !MayAsk(plane, peer->address)) {
    LogRefusal("a probe from an address that cluster.yaml does not have is not answered");
    return;
  }
  const int on = 1;
  setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  Session(*this, plane.pin, peer->address, std::move(socket)).Run();
}

}  // namespace sparkspan::engine::doctor
