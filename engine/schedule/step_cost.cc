#include "engine/schedule/step_cost.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"

namespace sparkspan::engine::schedule {
namespace {

double Slope(const CostPoint& from, const CostPoint& to) {
  return (to.microseconds - from.microseconds) / static_cast<double>(to.size - from.size);
}

// Of points ascending in size (Andrew's monotone chain).
std::vector<CostPoint> LowerHull(std::span<const CostPoint> points) {
  std::vector<CostPoint> hull;
  for (const CostPoint& point : points) {
    while (hull.size() >= 2 &&
           Slope(hull[hull.size() - 2], hull.back()) >= Slope(hull[hull.size() - 2], point)) {
      hull.pop_back();
    }
    hull.push_back(point);
  }
  return hull;
}

}  // namespace

absl::StatusOr<CostCurve> CostCurve::Create(std::vector<CostPoint> points) {
  if (points.empty()) {
    return absl::InvalidArgumentError("a cost curve without points: measure at least one");
  }
  for (const CostPoint& point : points) {
    if (point.size < 1 || !std::isfinite(point.microseconds) || point.microseconds < 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("a cost of %g microseconds at size %d: sizes are at least 1, times "
                          "numbers that are not negative",
                          point.microseconds,
                          point.size));
    }
  }
  std::sort(points.begin(), points.end(), [](const CostPoint& a, const CostPoint& b) {
    return a.size < b.size || (a.size == b.size && a.microseconds < b.microseconds);
  });
  const auto repeated = std::unique(
      points.begin(), points.end(), [](const auto& a, const auto& b) { return a.size == b.size; });
  points.erase(repeated, points.end());
  // More never costs less: what a smaller size was measured at is noise if a larger one took less.
  for (std::size_t i = points.size() - 1; i > 0; --i) {
    points[i - 1].microseconds = std::min(points[i - 1].microseconds, points[i].microseconds);
  }
  CostCurve curve;
  curve.points_ = LowerHull(points);
  return curve;
}

double CostCurve::At(std::int64_t size) const {
  if (points_.empty()) {
    return 0;
  }
  if (points_.size() == 1 || size <= points_.front().size) {
    return points_.front().microseconds;
  }
  auto after = std::lower_bound(
      points_.begin() + 1, points_.end(), size, [](const CostPoint& point, std::int64_t wanted) {
        return point.size < wanted;
      });
  after = after == points_.end() ? after - 1 : after;
  const CostPoint& before = *(after - 1);
  return before.microseconds + Slope(before, *after) * static_cast<double>(size - before.size);
}

}  // namespace sparkspan::engine::schedule
