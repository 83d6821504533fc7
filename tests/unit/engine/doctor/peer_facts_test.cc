#include "engine/doctor/peer_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <string>

#include "tests/unit/engine/doctor/spark_tree.h"

namespace sparkspan::engine::doctor {
namespace {

constexpr std::int64_t kRoundTripMs = 1;

PeerFacts Spark1() {
  return {"spark1", "0.1.0", 7, "6.17", "580.95", 11, 1'000, 1'500, 9'000, 1'000'000};
}

PeerFacts Spark2() {
  PeerFacts facts = Spark1();
  facts.node = "spark2";
  facts.unix_milliseconds += 3;
  return facts;
}

struct Difference {
  const char* id;
  Outcome outcome;
  const char* message;
  std::function<void(PeerFacts&)> make;
};

void PrintTo(const Difference& difference, std::ostream* out) {
  *out << difference.id;
}

const Difference kDifferences[] = {
    {"peer.program",
     Outcome::kFailure,
     "'0.1.0' here, '0.2.0' there",
     [](PeerFacts& facts) { facts.program_version = "0.2.0"; }},
    {"peer.config",
     Outcome::kFailure,
     "0000000000000008",
     [](PeerFacts& facts) { facts.config_hash = 8; }},
    {"peer.model",
     Outcome::kFailure,
     "999 bytes",
     [](PeerFacts& facts) { facts.checkpoint_bytes = 999; }},
    {"peer.mtu",
     Outcome::kFailure,
     "bootstrap 1500",
     [](PeerFacts& facts) { facts.bootstrap_mtu = 1'500; }},
    {"peer.kernel", Outcome::kWarning, "7.0", [](PeerFacts& facts) { facts.kernel = "7.0"; }},
    {"peer.driver", Outcome::kWarning, "''", [](PeerFacts& facts) { facts.gpu_driver = ""; }},
    {"peer.clock",
     Outcome::kWarning,
     "2.5 s apart",
     [](PeerFacts& facts) { facts.unix_milliseconds = 1'002'500; }},
};

class DifferenceTest : public testing::TestWithParam<Difference> {};

TEST_P(DifferenceTest, IsSeenByItsCheckAlone) {
  PeerFacts other = Spark2();
  GetParam().make(other);
  Report report;
  ComparePeers(Spark1(), other, kRoundTripMs, &report);
  EXPECT_EQ(report.ExitCode(), GetParam().outcome == Outcome::kFailure ? 4 : 3);
  for (const Finding& finding : report.findings()) {
    if (finding.id == GetParam().id) {
      EXPECT_EQ(finding.outcome, GetParam().outcome);
      EXPECT_THAT(finding.found, testing::HasSubstr(GetParam().message));
      EXPECT_FALSE(finding.next_step.empty());
    } else {
      EXPECT_EQ(finding.outcome, Outcome::kPass) << finding.id;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Peers,
                         DifferenceTest,
                         testing::ValuesIn(kDifferences),
                         [](const auto& tested) { return std::string(tested.param.id).substr(5); });

TEST(PeerFactsTest, EqualNodesPass) {
  Report report;
  ComparePeers(Spark1(), Spark2(), kRoundTripMs, &report);
  EXPECT_EQ(report.ExitCode(), 0);
  EXPECT_EQ(report.Count(Outcome::kPass), static_cast<int>(std::size(kDifferences)));
}

TEST(PeerFactsTest, AreReadBackAsTheyWereAndOthersAreRefused) {
  EXPECT_EQ(ParsePeerFacts(ToJson(Spark1())).value(), Spark1());
  for (const char* json : {"", "[]", R"({"version": 1})", R"({"version": 2})"}) {
    EXPECT_EQ(ParsePeerFacts(json).status().code(), absl::StatusCode::kInvalidArgument) << json;
  }
}

TEST(PeerFactsTest, AreThoseOfTheMachine) {
  const SparkTree tree;
  const config::ClusterConfig config = SparkPair();
  const NodeFacts facts = *CollectFacts(*MachineIn(tree.root()), config, config.nodes[0]);
  const PeerFacts own = MakePeerFacts(config, config.nodes[0], facts, "0.1.0", 5);
  EXPECT_EQ(own.node, "spark1");
  EXPECT_EQ(own.config_hash, Hash(config));
  EXPECT_EQ(own.control_mtu, 1'500);
  EXPECT_EQ(own.bootstrap_mtu, 9'000);
  EXPECT_EQ(own.gpu_driver, "580.95.05");
  EXPECT_EQ(own.checkpoint_bytes, 8);
}

}  // namespace
}  // namespace sparkspan::engine::doctor
