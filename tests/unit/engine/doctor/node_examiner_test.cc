#include "engine/doctor/node_examiner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/claimed_port.h"
#include "tests/unit/engine/doctor/spark_tree.h"

namespace sparkspan::engine::doctor {
namespace {

int CountOf(const Report& report, const std::string& id, Outcome outcome) {
  return static_cast<int>(std::count_if(
      report.findings().begin(), report.findings().end(), [&](const Finding& finding) {
        return finding.id == id && finding.outcome == outcome;
      }));
}

TEST(NodeExaminer, LooksAtItsMachineAsItIsNow) {
  SparkTree tree;
  NodeExaminer examiner(SparkPair(), "spark1", *MachineIn(tree.root()), "0.1.0");
  EXPECT_EQ(examiner.ExamineAll()->ExitCode(), 0);
  EXPECT_EQ(CountOf(*examiner.ExamineAll(), "disk.speed", Outcome::kSkipped), 1)
      << "the daemons use it";
  tree.Write("sys/class/net/enp1s0f1np1/operstate", "down");
  EXPECT_EQ(CountOf(*examiner.ExamineFabric(), "interface.link", Outcome::kFailure), 1);
  EXPECT_EQ(examiner.Facts()->bootstrap_mtu, 9'000);
  tree.Write("sys/class/net/enp1s0f1np1/mtu", "1500");
  EXPECT_EQ(examiner.Facts()->bootstrap_mtu, 1'500);
}

TEST(NodeExaminer, ProbesOtherNodesOfTheClusterOnly) {
  const SparkTree tree;
  const NodeExaminer examiner(SparkPair(), "spark1", *MachineIn(tree.root()), "0.1.0");
  EXPECT_TRUE(absl::IsNotFound(examiner.ProbePeer("spark1", {7300, "t"}).status()));
  EXPECT_TRUE(absl::IsNotFound(examiner.ProbePeer("spark3", {7300, "t"}).status()));
}

// Two examiners of this machine, whose nodes lie on loopback: one answers, the other probes.
TEST(NodeExaminer, AnswersThoseWhoBringTheToken) {
  const SparkTree tree;
  config::ClusterConfig config = SparkPair();
  for (std::uint32_t i = 0; i < 2; ++i) {
    config.nodes[i].control = {"lo", {0x7F000001 + i}};
    config.nodes[i].bootstrap = config.nodes[i].control;
    config.nodes[i].rails.clear();
    config.nodes[i].data = config::DataTransport::kTcp;
    config.nodes[i].ranks.clear();
  }
  const NodeExaminer first(config, "spark1", *MachineIn(tree.root()), "0.1.0");
  NodeExaminer second(config, "spark2", *MachineIn(tree.root()), "0.1.0");
  const ProbeTarget target{tests::ClaimedPort({"lo", {0x7F000002}}), "token"};
  EXPECT_TRUE(absl::IsInvalidArgument(second.AnswerProbes({target.port, ""})));
  ASSERT_TRUE(second.AnswerProbes({target.port, "of before"}).ok());
  ASSERT_TRUE(second.AnswerProbes(target).ok()) << "in place of earlier ones, on the same port";
  const absl::StatusOr<Report> report = first.ProbePeer("spark2", target);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(CountOf(*report, "tcp.bandwidth", Outcome::kInfo), 1)
      << ToText(*report, "spark1", /*verbose=*/true);
  EXPECT_EQ(
      CountOf(
          *first.ProbePeer("spark2", {target.port, "of before"}), "tcp.reach", Outcome::kFailure),
      1);
}

}  // namespace
}  // namespace sparkspan::engine::doctor
