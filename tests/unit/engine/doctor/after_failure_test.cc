#include <gtest/gtest.h>

#include <set>
#include <string>

#include "engine/doctor/examination.h"
#include "tests/unit/engine/doctor/spark_tree.h"

namespace sparkspan::engine::doctor {
namespace {

// What a head looks at when a rank is lost: what can break while it serves, and nothing that its
// own weights and ports would be mistaken for.
TEST(Examination, AfterAFailureTheFabricIsLookedAt) {
  SparkTree tree;
  tree.Write("sys/class/net/enp1s0f1np1/operstate", "down");
  tree.Remove("var/model");
  const config::ClusterConfig config = SparkPair();
  const absl::StatusOr<NodeFacts> facts =
      CollectFabricFacts(*MachineIn(tree.root()), config, config.nodes[0]);
  ASSERT_TRUE(facts.ok()) << facts.status();
  const Report report = ExamineAfterFailure({config, config.nodes[0], *facts});
  ASSERT_EQ(report.Count(Outcome::kFailure), 1) << ToText(report, "spark1", /*verbose=*/true);
  for (const Finding& finding : report.findings()) {
    EXPECT_EQ(finding.outcome == Outcome::kFailure,
              finding.id == "interface.link" && finding.subject.starts_with("enp1s0f1np1"))
        << finding.id << finding.subject;
    const std::string room = finding.id.substr(0, finding.id.find('.'));
    EXPECT_TRUE(
        std::set<std::string>({"interface", "route", "rail", "pcie", "rdma", "nccl", "host"})
            .contains(room))
        << finding.id;
  }
}

}  // namespace
}  // namespace sparkspan::engine::doctor
