#include "engine/schedule/step_cost.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace sparkspan::engine::schedule {
namespace {

using ::testing::HasSubstr;

CostCurve Curve(std::vector<CostPoint> points) {
  return CostCurve::Create(std::move(points)).value();
}

TEST(CostCurve, GoesThroughConvexPointsAndOnBeyondTheLast) {
  const CostCurve curve = Curve({{4, 20}, {1, 10}, {2, 12}, {8, 50}});
  EXPECT_DOUBLE_EQ(curve.At(1), 10);
  EXPECT_DOUBLE_EQ(curve.At(2), 12);
  EXPECT_DOUBLE_EQ(curve.At(3), 16);
  EXPECT_DOUBLE_EQ(curve.At(4), 20);
  EXPECT_DOUBLE_EQ(curve.At(12), 80);
  EXPECT_DOUBLE_EQ(Curve({{4, 20}}).At(1), 20);
  EXPECT_DOUBLE_EQ(Curve({{4, 20}}).At(400), 20);
  EXPECT_DOUBLE_EQ(CostCurve().At(7), 0);
}

// Whatever was measured: below every point, convex, never falling, and touching the outermost.
TEST(CostCurve, IsTheLowerConvexHull) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<CostPoint> points;
    for (std::int64_t size = 1; size < 40; size += 1 + static_cast<std::int64_t>(random() % 9)) {
      points.push_back({size, static_cast<double>(random() % 1000)});
    }
    const CostCurve curve = Curve(points);
    for (const CostPoint& point : points) {
      EXPECT_LE(curve.At(point.size), point.microseconds + 1e-9);
    }
    for (std::int64_t size = 2; size < 60; ++size) {
      EXPECT_GE(curve.At(size), curve.At(size - 1) - 1e-9);
      EXPECT_GE(curve.At(size + 1) + curve.At(size - 1), 2 * curve.At(size) - 1e-9);
    }
    EXPECT_DOUBLE_EQ(curve.At(points.back().size), points.back().microseconds);
  }
}

TEST(CostCurve, RefusesWhatWasNotMeasured) {
  const auto refusal = [](std::vector<CostPoint> points) {
    return std::string(CostCurve::Create(std::move(points)).status().message());
  };
  EXPECT_THAT(refusal({}), HasSubstr("without points"));
  EXPECT_THAT(refusal({{0, 1}}), HasSubstr("at size 0"));
  EXPECT_THAT(refusal({{1, -1}}), HasSubstr("-1 microseconds"));
  EXPECT_THAT(refusal({{1, std::numeric_limits<double>::quiet_NaN()}}), HasSubstr("nan"));
}

}  // namespace
}  // namespace sparkspan::engine::schedule
