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
#include "engine/fabric/pinned_socket.h"

namespace sparkspan::engine::doctor {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kConnectTimeout{3};
constexpr std::chrono::seconds kAnswerTimeout{15};
constexpr int kRoundTrips = 200;
constexpr std::size_t kEchoBytes = 8;
constexpr std::uint64_t kStrayShare = 10;  // A tenth elsewhere is no coincidence.

struct Plane {
  const char* name;
  fabric::DeclaredPin own;
  fabric::Ipv4Address other;
  std::string node;

  std::string subject() const { return absl::StrFormat("%s, node %s", name, node); }
};

double Seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

absl::StatusOr<std::string> Ask(ProbeConnection& connection,
                                ProbeRequest request,
                                std::string_view payload) {
  const Time deadline = steady_clock::now() + kAnswerTimeout;
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
                 "let the firewall pass everything between the declared addresses");
  }
  return absl::OkStatus();
}

absl::Status Probe(const Plane& plane,
                   ProbeConnection& connection,
                   const PeerFacts* own,
                   Report* report) {
  ASSIGN_OR_RETURN(const Duration round_trip, MedianRoundTrip(connection));
  report->Info("tcp.round-trip",
               plane.subject(),
               absl::StrFormat("%.0f us, median of %d", 1e6 * Seconds(round_trip), kRoundTrips));
  if (own != nullptr) {
    PeerFacts facts = *own;
    const auto began = std::chrono::system_clock::now();
    facts.unix_milliseconds =
        std::chrono::duration_cast<std::chrono::milliseconds>(began.time_since_epoch()).count();
    const Time asked = steady_clock::now();
    ASSIGN_OR_RETURN(const std::string json, Ask(connection, ProbeRequest::kFacts, ToJson(facts)));
    const auto took = std::chrono::ceil<std::chrono::milliseconds>(steady_clock::now() - asked);
    ASSIGN_OR_RETURN(const PeerFacts other, ParsePeerFacts(json));
    ComparePeers(facts, other, took.count(), report);
  }
  RETURN_IF_ERROR(CheckCallBack(plane, connection, report));
  return MeasureBandwidth(plane, connection, report);
}

void ProbePlane(const Plane& plane, std::uint16_t port, const PeerFacts* own, Report* report) {
  absl::StatusOr<ProbeConnection> connection = ProbeConnection::Connect(
      plane.own, {plane.other, port}, steady_clock::now() + kConnectTimeout);
  if (!connection.ok()) {
    report->Fail("tcp.reach",
                 plane.subject(),
                 absl::StrFormat("%s port %d from %s: %s",
                                 ToString(plane.other),
                                 port,
                                 plane.own.interface,
                                 std::string(connection.status().message())),
                 "an answer",
                 "run `sparkspan doctor --answer` there, and let the firewall pass the declared "
                 "addresses");
    return;
  }
  report->Pass("tcp.reach",
               plane.subject(),
               absl::StrFormat("%s from %s", ToString(plane.other), plane.own.interface));
  const absl::Status status = Probe(plane, *connection, own, report);
  if (!status.ok()) {
    report->Fail("tcp.reach",
                 plane.subject(),
                 std::string(status.message()),
                 "answers to the end",
                 "look at that node's doctor, and at the MTU of both ends");
  }
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

void ProbePeers(const config::ClusterConfig& config,
                const config::NodeConfig& node,
                std::uint16_t port,
                const PeerFacts& own,
                Report* report) {
  if (config.nodes.size() == 1) {
    report->Skip("tcp.reach", "there is one node only");
  }
  for (const config::NodeConfig& peer : config.nodes) {
    if (peer.name == node.name) {
      continue;
    }
    ProbePlane({"control", node.control, peer.control.address, peer.name}, port, &own, report);
    if (!(peer.bootstrap == peer.control && node.bootstrap == node.control)) {
      ProbePlane(
          {"bootstrap", node.bootstrap, peer.bootstrap.address, peer.name}, port, nullptr, report);
    }
  }
}

}  // namespace sparkspan::engine::doctor
