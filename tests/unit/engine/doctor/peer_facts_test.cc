#include "engine/doctor/peer_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <set>
#include <string>

#include "tests/unit/engine/doctor/spark_tree.h"

namespace sparkspan::engine::doctor {
namespace {

constexpr std::int64_t kRoundTripMs = 1;

PeerFacts Spark1() {
  return {"spark1",
          "0.1.0",
          7,
          "6.17",
          "580.95",
          11,
          1'000,
          1'500,
          9'000,
          {{{"enp1s0f1np1", {0xC0A8B101}}, 24, 9'000, "rocep1s0f1"}},
          1'000'000};
}

PeerFacts Spark2() {
  PeerFacts facts = Spark1();
  facts.node = "spark2";
  facts.rails[0].pin = {"enp1s0f0np0", {0xC0A8B102}};
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
    {"peer.mtu",
     Outcome::kFailure,
     "rail 192.168.177.0/24 1500' there",
     [](PeerFacts& facts) { facts.rails[0].mtu = 1'500; }},
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

INSTANTIATE_TEST_SUITE_P(
    Peers, DifferenceTest, testing::ValuesIn(kDifferences), [](const auto& tested) {
      return std::string(tested.param.id).substr(5) + std::to_string(tested.index);
    });

TEST(PeerFactsTest, EqualNodesPass) {
  Report report;
  ComparePeers(Spark1(), Spark2(), kRoundTripMs, &report);
  EXPECT_EQ(report.ExitCode(), 0);
  std::set<std::string> ids;
  for (const Difference& difference : kDifferences) {
    ids.insert(difference.id);
  }
  EXPECT_EQ(report.Count(Outcome::kPass), static_cast<int>(ids.size()));
}

TEST(PeerFactsTest, AreReadBackAsTheyWereAndOthersAreRefused) {
  EXPECT_EQ(ParsePeerFacts(ToJson(Spark1())).value(), Spark1());
  for (const char* json : {"", "[]", R"({"version": 1})", R"({"version": 2})"}) {
    EXPECT_EQ(ParsePeerFacts(json).status().code(), absl::StatusCode::kInvalidArgument) << json;
  }
  PeerFacts facts = Spark1();
  facts.rails[0].prefix_length = 33;
  EXPECT_THAT(std::string(ParsePeerFacts(ToJson(facts)).status().message()),
              testing::HasSubstr("prefix_length: expected at most 32"));
  facts.rails.resize(65, facts.rails[0]);
  EXPECT_THAT(std::string(ParsePeerFacts(ToJson(facts)).status().message()),
              testing::HasSubstr("rails: expected a list"));
}

TEST(PeerFactsTest, ARailEndsAtTheOnlyOneInItsSubnet) {
  PeerFacts other = Spark2();
  const RailFacts rail = Spark1().rails[0];
  EXPECT_EQ(OtherEnd(rail, other), other.rails.data());
  other.rails.push_back(other.rails[0]);
  EXPECT_EQ(OtherEnd(rail, other), nullptr) << "two in one subnet";
  other.rails = {{{"enp1s0f0np0", {0xC0A8B202}}, 24, 9'000, ""}};
  EXPECT_EQ(OtherEnd(rail, other), nullptr) << "none";
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
  ASSERT_EQ(own.rails.size(), 2u);
  EXPECT_EQ(own.rails[1], (RailFacts{{"enP2p1s0f1np1", {0xC0A8B201}}, 24, 9'000, "roceP2p1s0f1"}));
}

}  // namespace
}  // namespace sparkspan::engine::doctor
