#include "engine/calibrate/measure_step_costs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <variant>

#include "engine/runtime/plan_check.h"

namespace sparkspan::engine::calibrate {
namespace {

using runtime::RowSpan;
using runtime::StepPlan;
using runtime::StepResult;

// Takes 100 us for a step, 10 us for each of its rows, 7 us for each sequence to draft for; every
// second step is interrupted for a millisecond.
class TimedCluster final : public runtime::Cluster {
 public:
  runtime::ClusterShape Shape() const override { return shape; }
  absl::Status Reform(Epoch, Time) override { return absl::OkStatus(); }
  absl::Status Watch() override { return absl::OkStatus(); }

  absl::Status Submit(const StepPlan& plan) override {
    EXPECT_TRUE(runtime::CheckPlan(plan).ok()) << CheckPlan(plan).message();
    EXPECT_EQ(plan.epoch, Epoch(9));
    EXPECT_EQ(plan.step.value(), ++steps);
    for (const SequenceId id : plan.close) {
      EXPECT_EQ(open.erase(id), 1u);
    }
    for (const runtime::SequenceOpen& sequence : plan.open) {
      open.insert(sequence.sequence);
    }
    EXPECT_LE(static_cast<std::int32_t>(open.size()), shape.sequences_max);
    std::int64_t rows = 0;
    std::int64_t drafting = 0;
    for (const RowSpan& span : plan.spans) {
      const auto* tokens = std::get_if<std::vector<Token>>(&span.tokens);
      rows +=
          tokens == nullptr ? 1 + span.draft_tokens_max : static_cast<std::int64_t>(tokens->size());
      drafting += span.propose ? 1 : 0;
    }
    EXPECT_LE(rows, shape.step_rows_max);
    result = {};
    result.epoch = plan.epoch;
    result.step = plan.step;
    result.times.draft_ns = 7'000 * drafting * slowness;
    result.times.total_ns = (100'000 + 10'000 * rows) * slowness + result.times.draft_ns;
    result.times.total_ns += steps % 2 == 0 ? 1'000'000 : 0;
    return fault;
  }
  absl::StatusOr<StepResult> Collect(Time) override { return result; }

  runtime::ClusterShape shape;
  std::int64_t slowness = 1;
  absl::Status fault;
  std::uint64_t steps = 0;
  std::set<SequenceId> open;
  StepResult result;
};

TimedCluster Cluster() {
  TimedCluster cluster;
  cluster.shape.vocabulary = 1000;
  cluster.shape.kv_blocks = 20;
  cluster.shape.kv_block_tokens = 256;
  cluster.shape.sequences_max = 6;
  cluster.shape.step_rows_max = 512;
  cluster.shape.draft_tokens_max = 5;
  return cluster;
}

TEST(MeasureStepCosts, FindsWhatStepsCost) {
  TimedCluster cluster = Cluster();
  const auto costs = MeasureStepCosts(cluster, Epoch(9), 6, {});
  ASSERT_TRUE(costs.ok()) << costs.status().message();
  for (const std::int64_t rows : {1, 3, 6, 12, 36, 100, 256}) {
    EXPECT_NEAR(costs->rows.At(rows), 100.0 + 10.0 * static_cast<double>(rows), 1e-6) << rows;
  }
  EXPECT_NEAR(costs->drafts.At(1), 7, 1e-9);
  EXPECT_NEAR(costs->drafts.At(6), 42, 1e-9);
  EXPECT_LT(cluster.steps, 60u);
  RecordProperty("steps", static_cast<int>(cluster.steps));
}

TEST(MeasureStepCosts, LeavesLargeSizesOutWhereStepsAreSlow) {
  TimedCluster cluster = Cluster();
  cluster.slowness = 2'000;  // 0.3 s for a decode step with a block of drafts
  const auto costs = MeasureStepCosts(cluster, Epoch(9), 6, {});
  ASSERT_TRUE(costs.ok()) << costs.status().message();
  EXPECT_EQ(cluster.steps, 10u) << "one sequence: a prompt, and three repeats of three widths";
  for (const std::int64_t rows : {1, 3, 6, 36, 256}) {
    const double expected = 2'000 * (100.0 + 10.0 * static_cast<double>(rows));
    EXPECT_NEAR(costs->rows.At(rows), expected, 1e-9 * expected) << rows;
  }
  EXPECT_NEAR(costs->drafts.At(6), 6 * 7 * 2'000, 1e-3);
}

TEST(MeasureStepCosts, StaysWithinWhatTheClusterHolds) {
  TimedCluster cluster = Cluster();
  cluster.shape.kv_blocks = 1;
  cluster.shape.step_rows_max = 6;
  const auto costs = MeasureStepCosts(cluster, Epoch(9), 6, {});
  ASSERT_TRUE(costs.ok()) << costs.status().message();
  EXPECT_NEAR(costs->rows.At(6), 160, 1e-6);
}

TEST(MeasureStepCosts, PassesOnWhatTheClusterSays) {
  TimedCluster cluster = Cluster();
  cluster.fault = absl::UnavailableError("rank 1 is lost");
  EXPECT_EQ(MeasureStepCosts(cluster, Epoch(9), 6, {}).status(), cluster.fault);
}

}  // namespace
}  // namespace sparkspan::engine::calibrate
