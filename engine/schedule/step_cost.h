#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

namespace sparkspan::engine::schedule {

// One measurement of what something costs.
struct CostPoint {
  std::int64_t size = 0;  // rows, or sequences; at least 1
  double microseconds = 0;
};

// Cost as a function of size: the lower convex hull of measured points, straight between them and
// beyond the last, never falling. Convex, because a search that stops at the first step that does
// not pay finds the optimum of convex costs only, and measured ones are jagged.
class CostCurve {
 public:
  CostCurve() = default;  // costs nothing

  // InvalidArgument: no points, a size below 1, a time that is negative or not a number.
  static absl::StatusOr<CostCurve> Create(std::vector<CostPoint> points);

  double At(std::int64_t size) const;
  std::span<const CostPoint> points() const { return points_; }

 private:
  std::vector<CostPoint> points_;  // of the hull, ascending in size
};

// What a step costs on the machine it runs on: of rows through the model, and of drafting for
// sequences. Measured once at start on the ranks; only the head uses it.
struct StepCosts {
  CostCurve rows;
  CostCurve drafts;
  // Row counts for which the device has programs, ascending; a step pays for the next of them.
  // Empty: any count, as on CPU.
  std::vector<std::int64_t> row_tiers;
};

}  // namespace sparkspan::engine::schedule
