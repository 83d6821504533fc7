#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "engine/doctor/probe_client.h"
#include "engine/doctor/probe_connection.h"
#include "engine/doctor/probe_server.h"
#include "engine/fabric/pinned_socket.h"
#include "tests/claimed_port.h"

namespace sparkspan::engine::doctor {
namespace {

using testing::HasSubstr;

// Two nodes of this machine: 127.0.0.1 and 127.0.0.2 both lie on loopback.
config::ClusterConfig Pair() {
  config::ClusterConfig config;
  config.nodes.resize(2);
  for (std::uint32_t i = 0; i < 2; ++i) {
    config.nodes[i].name = i == 0 ? "spark1" : "spark2";
    config.nodes[i].control = {"lo", {0x7F000001 + i}};
    config.nodes[i].bootstrap = config.nodes[i].control;
  }
  return config;
}

std::uint16_t FreePort() {
  return tests::ClaimedPort({"lo", {0x7F000002}});
}

PeerFacts FactsOf(const std::string& node) {
  PeerFacts facts;
  facts.node = node;
  facts.program_version = node == "spark1" ? "0.1.0" : "0.2.0";
  return facts;
}

Outcome OutcomeOf(const Report& report, const std::string& id) {
  const auto found = std::find_if(report.findings().begin(),
                                  report.findings().end(),
                                  [&](const Finding& finding) { return finding.id == id; });
  EXPECT_NE(found, report.findings().end()) << id;
  return found == report.findings().end() ? Outcome::kSkipped : found->outcome;
}

std::unique_ptr<ProbeServer> Answering(const config::ClusterConfig& config,
                                       const ProbeTarget& target,
                                       const PeerFacts& facts) {
  auto server =
      ProbeServer::Start(config, config.nodes[1], {target.port, target.token, [facts] {
                                                     return absl::StatusOr<PeerFacts>(facts);
                                                   }});
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

Report Probe(const config::ClusterConfig& config, const ProbeTarget& target, const PeerFacts& own) {
  Report report;
  ProbeNode(config.nodes[0], config.nodes[1], target, own, &report);
  return report;
}

std::vector<std::string> SubjectsOf(const Report& report, const std::string& id) {
  std::vector<std::string> subjects;
  for (const Finding& finding : report.findings()) {
    if (finding.id == id) {
      subjects.push_back(finding.subject);
    }
  }
  return subjects;
}

TEST(Probe, ReachesComparesAndMeasures) {
  const config::ClusterConfig config = Pair();
  const ProbeTarget target{FreePort(), "secret"};
  const auto server = Answering(config, target, FactsOf("spark2"));
  const Report report = Probe(config, target, FactsOf("spark1"));
  const std::string text = ToText(report, "spark1", /*verbose=*/true);
  for (const char* id : {"tcp.reach", "tcp.back", "tcp.mtu", "tcp.counters", "peer.clock"}) {
    EXPECT_EQ(OutcomeOf(report, id), Outcome::kPass) << id << "\n" << text;
  }
  EXPECT_EQ(OutcomeOf(report, "tcp.bandwidth"), Outcome::kInfo) << text;
  EXPECT_EQ(OutcomeOf(report, "tcp.round-trip"), Outcome::kInfo) << text;
  EXPECT_EQ(OutcomeOf(report, "peer.program"), Outcome::kFailure) << text;
  EXPECT_EQ(report.ExitCode(), 4);
}

// Every address of 127.0.0.0/8 lies on loopback: a rail of each node, in a subnet of their own.
RailFacts RailAt(std::uint32_t address) {
  return {{"lo", {address}}, /*prefix_length=*/24, /*mtu=*/65'536, "roce0"};
}

TEST(Probe, MeasuresEveryRailWithTheOneAtItsOtherEnd) {
  const config::ClusterConfig config = Pair();
  PeerFacts own = FactsOf("spark1");
  PeerFacts other = own;
  other.node = "spark2";
  own.rails = {RailAt(0x7F000101), RailAt(0x7F000201)};
  other.rails = {RailAt(0x7F000202), RailAt(0x7F000102)};  // cabled crosswise
  const ProbeTarget target{FreePort(), ""};
  const auto server = Answering(config, target, other);
  const Report report = Probe(config, target, own);
  const std::string text = ToText(report, "spark1", /*verbose=*/true);
  EXPECT_EQ(report.ExitCode(), 0) << text;
  for (const char* id : {"tcp.bandwidth", "tcp.round-trip", "tcp.mtu", "tcp.counters"}) {
    EXPECT_EQ(SubjectsOf(report, id).size(), 3u) << id << "\n" << text;
  }
  EXPECT_THAT(SubjectsOf(report, "tcp.bandwidth"), testing::Contains("rail lo, node spark2"));
  EXPECT_EQ(SubjectsOf(report, "subnet.rails").size(), 2u);
}

TEST(Probe, ARailWhoseOtherEndIsInAnotherSubnetIsAFailure) {
  const config::ClusterConfig config = Pair();
  PeerFacts own = FactsOf("spark1");
  PeerFacts other = own;
  own.rails = {RailAt(0x7F000101)};
  other.rails = {RailAt(0x7F000302)};
  const ProbeTarget target{FreePort(), ""};
  const auto server = Answering(config, target, other);
  const Report report = Probe(config, target, own);
  EXPECT_EQ(OutcomeOf(report, "subnet.rails"), Outcome::kFailure);
  EXPECT_EQ(report.ExitCode(), 4);
}

config::RankConfig RankOn(std::int32_t rank) {
  config::RankConfig config;
  config.rank = Rank(rank);
  config.control_port = FreePort();
  config.data_port = FreePort();
  return config;
}

TEST(Probe, TriesTheDeclaredPortsBothWays) {
  config::ClusterConfig config = Pair();
  config.nodes[0].ranks = {RankOn(0)};
  config.nodes[1].ranks = {RankOn(1)};
  // A daemon has one of them already.
  const auto daemon = fabric::ListenPinned({"lo", {0x7F000002}},
                                           config.nodes[1].ranks[0].data_port,
                                           fabric::LocalPeers::kNone,
                                           /*backlog=*/4);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  const ProbeTarget target{FreePort(), ""};
  const auto server = Answering(config, target, FactsOf("spark1"));
  const Report report = Probe(config, target, FactsOf("spark1"));
  EXPECT_EQ(report.ExitCode(), 0) << ToText(report, "spark1", /*verbose=*/true);
  EXPECT_EQ(SubjectsOf(report, "tcp.ports").size(), 4u) << "control and data, both ways";
}

// A port that is closed to the other side, as a firewall closes it: here one that is taken by a
// socket that does not listen.
TEST(Probe, ADeclaredPortThatCannotBeReachedIsAFailure) {
  config::ClusterConfig config = Pair();
  config.nodes[1].ranks = {RankOn(1)};
  const UniqueFd taken(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(config.nodes[1].ranks[0].control_port);
  address.sin_addr.s_addr = htonl(0x7F000002);
  ASSERT_EQ(bind(taken.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  const ProbeTarget target{FreePort(), ""};
  const auto server = Answering(config, target, FactsOf("spark1"));
  const Report report = Probe(config, target, FactsOf("spark1"));
  EXPECT_EQ(OutcomeOf(report, "tcp.ports"), Outcome::kFailure);
  EXPECT_EQ(report.ExitCode(), 4);
}

TEST(Probe, BytesOnAnotherInterfaceAreAFailure) {
  constexpr std::uint64_t kSent = std::uint64_t{kProbeBytesMax} + 4'000'000;
  const CountersByInterface before = {{"enp1s0f1np1", {100, 0}}, {"wlP9s9", {500, 0}}};
  const auto judge = [&](std::uint64_t pinned, std::uint64_t wireless) {
    Report report;
    JudgeCounters("bootstrap, node spark2",
                  "enp1s0f1np1",
                  before,
                  {{"enp1s0f1np1", {100 + pinned, 0}}, {"wlP9s9", {500 + wireless, 0}}},
                  &report);
    return report;
  };
  EXPECT_EQ(judge(kSent, 1'000).ExitCode(), 0);
  const Report astray = judge(kSent, kSent);
  EXPECT_EQ(astray.ExitCode(), 4);
  EXPECT_THAT(astray.findings()[0].found, HasSubstr("but also wlP9s9"));
  EXPECT_EQ(judge(1'000, 1'000).ExitCode(), 4) << "the bytes went where nobody counts";
}

TEST(Probe, ANodeThatDoesNotAnswerIsAFailureWithItsAddress) {
  const config::ClusterConfig config = Pair();
  const Report report = Probe(config, {FreePort(), ""}, FactsOf("spark1"));
  ASSERT_EQ(report.findings().size(), 1u);
  EXPECT_EQ(report.findings()[0].outcome, Outcome::kFailure);
  EXPECT_THAT(report.findings()[0].found, HasSubstr("127.0.0.2 port "));
  EXPECT_THAT(report.findings()[0].next_step, HasSubstr("--answer"));
}

// What a probe gets that comes from `source` and brings `token`.
absl::Status Answer(const ProbeTarget& target, std::uint32_t source, const std::string& token) {
  const Time deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  auto connection =
      ProbeConnection::Connect({"lo", {source}}, {{0x7F000002}, target.port}, deadline);
  EXPECT_TRUE(connection.ok()) << connection.status();
  (void)connection->Send(ProbeRequest::kOpen, token, deadline);  // Receive tells.
  return connection->Receive(deadline).status();
}

TEST(Probe, AnAddressThatIsNotDeclaredIsNotAnswered) {
  const config::ClusterConfig config = Pair();
  PeerFacts facts = FactsOf("spark2");
  const ProbeTarget target{FreePort(), ""};
  const auto server = Answering(config, target, facts);
  EXPECT_TRUE(Answer(target, 0x7F000001, "").ok());
  EXPECT_EQ(Answer(target, 0x7F000003, "").code(), absl::StatusCode::kUnavailable);
}

TEST(Probe, WhoHasNotTheTokenIsNotAnswered) {
  const config::ClusterConfig config = Pair();
  const ProbeTarget target{FreePort(), "secret"};
  const auto server = Answering(config, target, FactsOf("spark2"));
  EXPECT_TRUE(Answer(target, 0x7F000001, "secret").ok());
  EXPECT_EQ(Answer(target, 0x7F000001, "secreu").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Answer(target, 0x7F000001, "").code(), absl::StatusCode::kUnavailable);
}

TEST(Probe, ManyRefusalsDoNotFillTheLog) {
  const config::ClusterConfig config = Pair();
  const ProbeTarget target{FreePort(), "secret"};
  const auto server = Answering(config, target, FactsOf("spark2"));
  testing::internal::CaptureStderr();
  for (int i = 0; i < 25; ++i) {
    EXPECT_FALSE(Answer(target, 0x7F000001, "guess").ok());
  }
  const std::string log = testing::internal::GetCapturedStderr();
  std::size_t lines = 0;
  for (std::size_t at = log.find("is not answered"); at != std::string::npos;
       at = log.find("is not answered", at + 1)) {
    ++lines;
  }
  EXPECT_EQ(lines, 10u) << log;
}

TEST(Probe, AnotherProgramIsNotTakenForADoctor) {
  const auto listener =
      fabric::ListenPinned({"lo", {0x7F000002}}, 0, fabric::LocalPeers::kSome, /*backlog=*/1);
  ASSERT_TRUE(listener.ok()) << listener.status();
  const std::uint16_t port = fabric::LocalEndpoint(listener->get())->port;
  const Time deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  auto connection = ProbeConnection::Connect({"lo", {0x7F000001}}, {{0x7F000002}, port}, deadline);
  ASSERT_TRUE(connection.ok()) << connection.status();
  ASSERT_TRUE(WaitForSocket(listener->get(), POLLIN, deadline).ok());
  const UniqueFd other(accept(listener->get(), nullptr, nullptr));
  ASSERT_EQ(send(other.get(), "HTTP/1.1 400 Bad Request\r\n", 26, MSG_NOSIGNAL), 26);
  const auto frame = connection->Receive(deadline);
  EXPECT_THAT(std::string(frame.status().message()), HasSubstr("no doctor of this release"));
}

}  // namespace
}  // namespace sparkspan::engine::doctor
