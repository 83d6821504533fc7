#include "engine/doctor/probe_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/doctor/probe_connection.h"
#include "engine/fabric/pinned_socket.h"

namespace sparkspan::engine::doctor {
namespace {

constexpr int kBacklog = 8;
constexpr std::chrono::seconds kSessionMax{60};
constexpr std::chrono::seconds kCallBackTimeout{2};
constexpr int kPollTimeoutMs = 10'000;

std::int64_t UnixMilliseconds() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string CallBack(const fabric::DeclaredPin& pin,
                     fabric::Ipv4Address peer,
                     const std::string& port_text) {
  std::uint16_t port = 0;
  const auto [end, fault] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (fault != std::errc() || end != port_text.data() + port_text.size() || port == 0) {
    return "that is no port";
  }
  const absl::Status status =
      ProbeConnection::Connect(
          pin, {peer, port}, std::chrono::steady_clock::now() + kCallBackTimeout)
          .status();
  return std::string(status.message());
}

}  // namespace

absl::StatusOr<std::unique_ptr<ProbeServer>> ProbeServer::Start(const config::ClusterConfig& config,
                                                                const config::NodeConfig& node,
                                                                std::uint16_t port,
                                                                PeerFacts facts) {
  std::vector<Plane> planes;
  for (const fabric::DeclaredPin* pin : {&node.control, &node.bootstrap}) {
    if (planes.empty() || !(planes[0].pin == *pin)) {
      ASSIGN_OR_RETURN(UniqueFd listener,
                       fabric::ListenPinned(*pin, port, fabric::LocalPeers::kNone, kBacklog));
      planes.push_back({*pin, std::move(listener)});
    }
  }
  std::vector<fabric::Ipv4Address> peers;
  for (const config::NodeConfig& peer : config.nodes) {
    if (peer.name != node.name) {
      peers.push_back(peer.control.address);
      peers.push_back(peer.bootstrap.address);
    }
  }
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    return absl::UnavailableError(absl::StrFormat("cannot make a pipe: %s", std::strerror(errno)));
  }
  return std::unique_ptr<ProbeServer>(new ProbeServer(
      std::move(planes), std::move(peers), std::move(facts), UniqueFd(ends[0]), UniqueFd(ends[1])));
}

ProbeServer::ProbeServer(std::vector<Plane> planes,
                         std::vector<fabric::Ipv4Address> peers,
                         PeerFacts facts,
                         UniqueFd stop_reader,
                         UniqueFd stop_writer)
    : planes_(std::move(planes)),
      peers_(std::move(peers)),
      facts_(std::move(facts)),
      stop_reader_(std::move(stop_reader)),
      stop_writer_(std::move(stop_writer)) {
  for (const Plane& plane : planes_) {
    threads_.emplace_back("probe", [this, &plane] { Run(plane); });
  }
}

ProbeServer::~ProbeServer() {
  const char byte = 0;  // Nobody reads it, so that it stops every thread.
  CHECK_EQ(write(stop_writer_.get(), &byte, 1), 1);
  threads_.clear();
}

void ProbeServer::Run(const Plane& plane) const {
  while (true) {
    pollfd polled[] = {{stop_reader_.get(), POLLIN, 0}, {plane.listener.get(), POLLIN, 0}};
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

void ProbeServer::Answer(const Plane& plane, UniqueFd socket) const {
  const absl::StatusOr<fabric::Endpoint> peer = fabric::PeerEndpoint(socket.get());
  if (!peer.ok() || std::find(peers_.begin(), peers_.end(), peer->address) == peers_.end()) {
    LOG(WARNING) << "a probe from an address that cluster.yaml does not have is not answered";
    return;
  }
  const int on = 1;
  setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  ProbeConnection connection(std::move(socket));
  const Time deadline = std::chrono::steady_clock::now() + kSessionMax;
  absl::Status status;
  while (status.ok()) {
    absl::StatusOr<ProbeConnection::Frame> frame = connection.Receive(deadline);
    if (!frame.ok()) {
      return;  // The other side is done, or away.
    }
    switch (frame->request) {
      case ProbeRequest::kFacts: {
        PeerFacts facts = facts_;
        facts.unix_milliseconds = UnixMilliseconds();
        status = connection.Send(ProbeRequest::kFacts, ToJson(facts), deadline);
        break;
      }
      case ProbeRequest::kEcho:
        status = connection.Send(ProbeRequest::kEcho, frame->payload, deadline);
        break;
      case ProbeRequest::kTransfer:
        status = connection.Send(ProbeRequest::kTransfer, "", deadline);
        break;
      case ProbeRequest::kCallBack:
        status = connection.Send(
            ProbeRequest::kCallBack, CallBack(plane.pin, peer->address, frame->payload), deadline);
        break;
    }
  }
}

}  // namespace sparkspan::engine::doctor
