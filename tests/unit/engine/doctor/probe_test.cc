#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "engine/doctor/probe_client.h"
#include "engine/doctor/probe_connection.h"
#include "engine/doctor/probe_server.h"
#include "engine/fabric/pinned_socket.h"

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
  const auto socket =
      fabric::ListenPinned({"lo", {0x7F000002}}, 0, fabric::LocalPeers::kSome, /*backlog=*/1);
  EXPECT_TRUE(socket.ok()) << socket.status();
  return fabric::LocalEndpoint(socket->get())->port;
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

TEST(Probe, ReachesComparesAndMeasures) {
  const config::ClusterConfig config = Pair();
  const std::uint16_t port = FreePort();
  const auto server = ProbeServer::Start(config, config.nodes[1], port, FactsOf("spark2"));
  ASSERT_TRUE(server.ok()) << server.status();
  Report report;
  ProbePeers(config, config.nodes[0], port, FactsOf("spark1"), &report);
  const std::string text = ToText(report, "spark1", /*verbose=*/true);
  EXPECT_EQ(OutcomeOf(report, "tcp.reach"), Outcome::kPass) << text;
  EXPECT_EQ(OutcomeOf(report, "tcp.back"), Outcome::kPass) << text;
  EXPECT_EQ(OutcomeOf(report, "tcp.counters"), Outcome::kPass) << text;
  EXPECT_EQ(OutcomeOf(report, "tcp.bandwidth"), Outcome::kInfo) << text;
  EXPECT_EQ(OutcomeOf(report, "tcp.round-trip"), Outcome::kInfo) << text;
  EXPECT_EQ(OutcomeOf(report, "peer.program"), Outcome::kFailure) << text;
  EXPECT_EQ(OutcomeOf(report, "peer.clock"), Outcome::kPass) << text;
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
  Report report;
  ProbePeers(config, config.nodes[0], FreePort(), FactsOf("spark1"), &report);
  ASSERT_EQ(report.findings().size(), 1u);
  EXPECT_EQ(report.findings()[0].outcome, Outcome::kFailure);
  EXPECT_THAT(report.findings()[0].found, HasSubstr("127.0.0.2 port "));
  EXPECT_THAT(report.findings()[0].next_step, HasSubstr("--answer"));
}

TEST(Probe, AnAddressThatIsNotDeclaredIsNotAnswered) {
  config::ClusterConfig config = Pair();
  const std::uint16_t port = FreePort();
  const auto server = ProbeServer::Start(config, config.nodes[1], port, FactsOf("spark2"));
  ASSERT_TRUE(server.ok()) << server.status();
  const Time deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  auto stranger = ProbeConnection::Connect({"lo", {0x7F000003}}, {{0x7F000002}, port}, deadline);
  ASSERT_TRUE(stranger.ok()) << stranger.status();
  (void)stranger->Send(ProbeRequest::kFacts, "", deadline);
  EXPECT_EQ(stranger->Receive(deadline).status().code(), absl::StatusCode::kUnavailable);
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
