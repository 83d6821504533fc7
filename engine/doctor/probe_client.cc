#include "engine/doctor/probe_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/doctor/probe_connection.h"
#include "engine/fabric/counters.h"
#include "engine/fabric/kernel_files.h"
#include "engine/fabric/pinned_socket.h"

namespace sparkspan::engine::doctor {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kConnectTimeout{3};
constexpr std::chrono::seconds kAnswerTimeout{15};
constexpr int kRoundTrips = 200;
constexpr std::size_t kEchoBytes = 8;
constexpr std::size_t kMtuEchoBytes = 256 << 10;
constexpr std::chrono::seconds kMtuTimeout{5};
// Larger ones may be bounded by the receive window, as loopback's are.
constexpr std::int64_t kPacketBytesMax = 16'384;
constexpr const char* kOneMtu = "set one MTU at both ends, and on a switch between them";
constexpr std::uint64_t kStrayShare = 10;  // A tenth elsewhere is no coincidence.

// A link between this node and another, and what is declared to listen at its ends.
struct Plane {
  std::string name;  // "control", "bootstrap, rail enp1s0f1np1"
  fabric::DeclaredPin own;
  fabric::Ipv4Address other;
  std::string node;
  std::vector<std::uint16_t> own_ports;
  std::vector<std::uint16_t> other_ports;

  std::string subject() const { return absl::StrFormat("%s, node %s", name, node); }
};

double Seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

absl::StatusOr<std::string> Ask(ProbeConnection& connection,
                                ProbeRequest request,
                                std::string_view payload,
                                Duration timeout = kAnswerTimeout) {
  const Time deadline = steady_clock::now() + timeout;
  RETURN_IF_ERROR(connection.Send(request, payload, deadline));
  ASSIGN_OR_RETURN(ProbeConnection::Frame frame, connection.Receive(deadline));
  return std::move(frame.payload);
}

absl::StatusOr<Duration> MedianRoundTrip(ProbeConnection& connection) {
  std::vector<Duration> trips;
  const std::string payload(kEchoBytes, 'x');
  for (int i = 0; i < kRoundTrips; ++i) {
    const Time began = steady_clock::now();
    RETURN_IF_ERROR(Ask(connection, ProbeRequest::kEcho, payload).status());
    trips.push_back(steady_clock::now() - began);
  }
  std::nth_element(trips.begin(), trips.begin() + kRoundTrips / 2, trips.end());
  return trips[kRoundTrips / 2];
}

absl::Status MeasureBandwidth(const Plane& plane, ProbeConnection& connection, Report* report) {
  const std::string payload(static_cast<std::size_t>(kProbeBytesMax), '\0');
  const auto before = fabric::ReadAllCounters("/sys");
  const Time began = steady_clock::now();
  RETURN_IF_ERROR(Ask(connection, ProbeRequest::kTransfer, payload).status());
  const double seconds = Seconds(steady_clock::now() - began);
  report->Info("tcp.bandwidth",
               plane.subject(),
               absl::StrFormat("%.1f Gb/s over one connection",
                               8e-9 * static_cast<double>(kProbeBytesMax) / seconds));
  JudgeCounters(
      plane.subject(), plane.own.interface, before, fabric::ReadAllCounters("/sys"), report);
  return absl::OkStatus();
}

constexpr const char* kOpenFirewall =
    "let the firewall pass everything between the declared addresses";

// The other way: the peer connects to a random port of this node.
absl::Status CheckCallBack(const Plane& plane, ProbeConnection& connection, Report* report) {
  ASSIGN_OR_RETURN(const UniqueFd listener,
                   fabric::ListenPinned(plane.own, 0, fabric::LocalPeers::kNone, /*backlog=*/1));
  ASSIGN_OR_RETURN(const fabric::Endpoint endpoint, fabric::LocalEndpoint(listener.get()));
  ASSIGN_OR_RETURN(const std::string fault,
                   Ask(connection, ProbeRequest::kCallBack, std::to_string(endpoint.port)));
  if (fault.empty()) {
    report->Pass("tcp.back", plane.subject(), absl::StrFormat("port %d", endpoint.port));
  } else {
    report->Fail("tcp.back",
                 plane.subject(),
                 absl::StrFormat("it cannot connect to %s: %s", ToString(endpoint), fault),
                 "connections both ways, on any high port",
                 kOpenFirewall);
  }
  return absl::OkStatus();
}

void JudgePort(const Plane& plane,
               const fabric::Endpoint& endpoint,
               const std::string& fault,
               Report* report) {
  if (fault.empty()) {
    report->Pass("tcp.ports", plane.subject(), ToString(endpoint));
  } else {
    report->Fail("tcp.ports",
                 plane.subject(),
                 absl::StrFormat("no connection to %s: %s", ToString(endpoint), fault),
                 "one to every declared port",
                 kOpenFirewall);
  }
}

// The declared ports themselves, both ways. Where no daemon listens on one, a doctor does for as
// long as it takes: a port that nobody has says nothing of a firewall.
absl::Status CheckPorts(const Plane& plane, ProbeConnection& connection, Report* report) {
  for (const std::uint16_t port : plane.other_ports) {
    // That it cannot listen means that a daemon does; if not, the connection tells.
    RETURN_IF_ERROR(Ask(connection, ProbeRequest::kListen, std::to_string(port)).status());
    const absl::Status reached =
        ProbeConnection::Connect(
            plane.own, {plane.other, port}, steady_clock::now() + kConnectTimeout)
            .status();
    JudgePort(plane, {plane.other, port}, std::string(reached.message()), report);
  }
  for (const std::uint16_t port : plane.own_ports) {
    const absl::StatusOr<UniqueFd> listener =
        fabric::ListenPinned(plane.own, port, fabric::LocalPeers::kNone, /*backlog=*/1);
    ASSIGN_OR_RETURN(const std::string fault,
                     Ask(connection, ProbeRequest::kCallBack, std::to_string(port)));
    JudgePort(plane, {plane.own.address, port}, fault, report);
  }
  return absl::OkStatus();
}

// Packets of this side's MTU both ways. TCP never fragments one: what is too large for a switch
// between the ends is lost without a word.
absl::Status CheckMtu(const Plane& plane, ProbeConnection& connection, Report* report) {
  const std::int64_t mtu =
      fabric::ReadNumber("/sys/class/net/" + plane.own.interface + "/mtu").value_or(0);
  const std::string payload(kMtuEchoBytes, '\0');
  const absl::Status echoed = Ask(connection, ProbeRequest::kEcho, payload, kMtuTimeout).status();
  if (absl::IsDeadlineExceeded(echoed)) {
    report->Fail("tcp.mtu",
                 plane.subject(),
                 absl::StrFormat("packets of %d bytes vanish on the way", mtu),
                 absl::StrFormat("packets of MTU %d both ways", mtu),
                 kOneMtu);
    return absl::AbortedError("");
  }
  RETURN_IF_ERROR(echoed);
  const std::int64_t packet = connection.PacketBytes();
  if (packet < std::min(mtu, kPacketBytesMax)) {
    report->Fail(
        "tcp.mtu",
        plane.subject(),
        absl::StrFormat("packets of at most %d bytes, though the MTU is %d here", packet, mtu),
        absl::StrFormat("packets of MTU %d both ways", mtu),
        kOneMtu);
  } else {
    report->Pass("tcp.mtu", plane.subject(), absl::StrFormat("MTU %d both ways", mtu));
  }
  return absl::OkStatus();
}

absl::Status Measure(const Plane& plane, ProbeConnection& connection, Report* report) {
  ASSIGN_OR_RETURN(const Duration round_trip, MedianRoundTrip(connection));
  report->Info("tcp.round-trip",
               plane.subject(),
               absl::StrFormat("%.0f us, median of %d", 1e6 * Seconds(round_trip), kRoundTrips));
  RETURN_IF_ERROR(CheckCallBack(plane, connection, report));
  RETURN_IF_ERROR(CheckPorts(plane, connection, report));
  RETURN_IF_ERROR(CheckMtu(plane, connection, report));
  return MeasureBandwidth(plane, connection, report);
}

absl::StatusOr<ProbeConnection> Open(const Plane& plane, const ProbeTarget& target) {
  ASSIGN_OR_RETURN(
      ProbeConnection connection,
      ProbeConnection::Connect(
          plane.own, {plane.other, target.port}, steady_clock::now() + kConnectTimeout));
  RETURN_IF_ERROR(Ask(connection, ProbeRequest::kOpen, target.token).status());
  return connection;
}

void ReportUnreached(const Plane& plane,
                     const ProbeTarget& target,
                     const absl::Status& status,
                     Report* report) {
  report->Fail("tcp.reach",
               plane.subject(),
               absl::StrFormat("%s port %d from %s: %s",
                               ToString(plane.other),
                               target.port,
                               plane.own.interface,
                               std::string(status.message())),
               "an answer",
               "start sparkspan-node there, or `sparkspan doctor --answer`, and let the firewall "
               "pass the declared addresses");
}

void ProbePlane(const Plane& plane, const ProbeTarget& target, Report* report) {
  absl::StatusOr<ProbeConnection> connection = Open(plane, target);
  if (!connection.ok()) {
    ReportUnreached(plane, target, connection.status(), report);
    return;
  }
  report->Pass("tcp.reach",
               plane.subject(),
               absl::StrFormat("%s from %s", ToString(plane.other), plane.own.interface));
  const absl::Status status = Measure(plane, *connection, report);
  if (!status.ok() && !absl::IsAborted(status)) {  // Else it has been reported.
    report->Fail("tcp.reach",
                 plane.subject(),
                 std::string(status.message()),
                 "answers to the end",
                 "look at that node's doctor, and at the MTU of both ends");
  }
}

// The other node's facts, compared with this one's.
absl::StatusOr<PeerFacts> ExchangeFacts(ProbeConnection& connection,
                                        PeerFacts own,
                                        Report* report) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  own.unix_milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  const Time asked = steady_clock::now();
  ASSIGN_OR_RETURN(const std::string json, Ask(connection, ProbeRequest::kFacts, ToJson(own)));
  const auto took = std::chrono::ceil<std::chrono::milliseconds>(steady_clock::now() - asked);
  ASSIGN_OR_RETURN(PeerFacts other, ParsePeerFacts(json));
  ComparePeers(own, other, took.count(), report);
  return other;
}

// Adds a plane, or its name to one between the same ends.
void AddPlane(Plane plane, std::vector<Plane>* planes) {
  for (Plane& known : *planes) {
    if (known.own == plane.own && known.other == plane.other) {
      known.name += ", " + plane.name;
      known.own_ports.insert(known.own_ports.end(), plane.own_ports.begin(), plane.own_ports.end());
      known.other_ports.insert(
          known.other_ports.end(), plane.other_ports.begin(), plane.other_ports.end());
      return;
    }
  }
  planes->push_back(std::move(plane));
}

std::vector<std::uint16_t> Ports(const config::NodeConfig& node,
                                 std::uint16_t config::RankConfig::*port) {
  std::vector<std::uint16_t> ports;
  for (const config::RankConfig& rank : node.ranks) {
    ports.push_back(rank.*port);
  }
  return ports;
}

// Control, bootstrap where both have ranks, and every data rail with the rail at its other end.
std::vector<Plane> PlanesBetween(const config::NodeConfig& node,
                                 const config::NodeConfig& peer,
                                 const PeerFacts& own,
                                 const PeerFacts& other,
                                 Report* report) {
  std::vector<Plane> planes = {{"control",
                                node.control,
                                peer.control.address,
                                peer.name,
                                Ports(node, &config::RankConfig::control_port),
                                Ports(peer, &config::RankConfig::control_port)}};
  if (!node.ranks.empty() && !peer.ranks.empty()) {
    AddPlane({"bootstrap",
              node.bootstrap,
              peer.bootstrap.address,
              peer.name,
              Ports(node, &config::RankConfig::data_port),
              Ports(peer, &config::RankConfig::data_port)},
             &planes);
  }
  for (const RailFacts& rail : own.rails) {
    const std::string name = "rail " + rail.pin.interface;
    const std::string network = absl::StrFormat(
        "%s/%d", ToString(NetworkOf(rail.pin.address, rail.prefix_length)), rail.prefix_length);
    if (const RailFacts* end = OtherEnd(rail, other); end != nullptr) {
      report->Pass("subnet.rails", name + ", node " + peer.name, network);
      AddPlane({name, rail.pin, end->pin.address, peer.name, {}, {}}, &planes);
    } else {
      report->Fail("subnet.rails",
                   name + ", node " + peer.name,
                   "that node has no rail, or several, in " + network,
                   "one rail of each node in a subnet of its own",
                   "give both ends of each cable addresses in one subnet");
    }
  }
  return planes;
}

}  // namespace

void JudgeCounters(const std::string& subject,
                   const std::string& interface,
                   const CountersByInterface& before,
                   const CountersByInterface& after,
                   Report* report) {
  std::uint64_t own = 0;
  std::string stray;
  for (const auto& [name, counters] : after) {
    const auto earlier = before.find(name);
    const std::uint64_t sent =
        Difference(earlier == before.end() ? fabric::InterfaceCounters{} : earlier->second,
                   counters)
            .sent_bytes;
    if (name == interface) {
      own = sent;
    } else if (sent > static_cast<std::uint64_t>(kProbeBytesMax) / kStrayShare) {
      stray += absl::StrFormat("%s%s %d bytes", stray.empty() ? "" : ", ", name, sent);
    }
  }
  const std::string found = absl::StrFormat(
      "%s sent %d bytes%s%s", interface, own, stray.empty() ? "" : ", but also ", stray);
  if (own >= static_cast<std::uint64_t>(kProbeBytesMax) && stray.empty()) {
    report->Pass("tcp.counters", subject, found);
  } else {
    report->Fail("tcp.counters",
                 subject,
                 found,
                 absl::StrFormat("%d bytes by %s alone", kProbeBytesMax, interface),
                 "look at the routes (route.peer), and try again on an idle machine");
  }
}

void ProbeNode(const config::NodeConfig& node,
               const config::NodeConfig& peer,
               const ProbeTarget& target,
               const PeerFacts& own,
               Report* report) {
  const Plane control{"control", node.control, peer.control.address, peer.name, {}, {}};
  absl::StatusOr<ProbeConnection> connection = Open(control, target);
  if (!connection.ok()) {
    ReportUnreached(control, target, connection.status(), report);
    return;
  }
  const absl::StatusOr<PeerFacts> other = ExchangeFacts(*connection, own, report);
  connection = absl::CancelledError("done");  // One connection at a time is answered on a plane.
  if (!other.ok()) {
    report->Fail("tcp.reach",
                 control.subject(),
                 std::string(other.status().message()),
                 "that node's facts",
                 "look at that node's doctor, and install one release on all nodes");
    return;
  }
  for (const Plane& plane : PlanesBetween(node, peer, own, *other, report)) {
    ProbePlane(plane, target, report);
  }
}

}  // namespace sparkspan::engine::doctor
