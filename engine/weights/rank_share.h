#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/weights/model_shape.h"
#include "kernels/numerics/profile.h"

namespace sparkspan::engine::weights {

// Which part of the model a rank holds. Attention goes by output groups, the shared expert and with
// `split` the routed ones by stretches of their intermediate width, with `whole` the routed experts
// by id, the vocabulary by rows; everything else is held by every rank. What does not divide evenly
// is dealt in contiguous ranges whose sizes differ by one unit at most; a rank may get no stretch
// of the width.
struct RankShare {
  int rank = 0;
  int ranks = 1;
  bool experts_whole = false;
  // Columns of the intermediate width that must stay together: 32 is one scale of an FP4 expert,
  // 128 one group of quantised activations.
  int width_unit = 128;
};

// The unit that a profile needs.
constexpr int WidthUnitOf(const kernels::numerics::NumericsProfile& profile) {
  return profile.quantises() ? 128 : 32;
}

struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

// The rank's contiguous part of `count` units; sizes differ by one at most.
constexpr Range ShareOf(std::int64_t count, int rank, int ranks) {
  return {count * rank / ranks, count * (rank + 1) / ranks};
}

// The rank's stretch of the expert width, in columns.
Range WidthOf(const ModelShape& shape, const RankShare& share);

// Most ranks the model can be dealt to: each needs an output group and a token id.
int RanksMax(const ModelShape& shape);

// Refuses a share that cannot be, naming the numbers of ranks that work.
absl::Status CheckShare(const ModelShape& shape, const RankShare& share);

// Sizes of the rank's heads, groups as the layer program needs them.
kernels::OpsShape OpsShapeOf(const ModelShape& shape, const RankShare& share);

// For people: how each part is dealt to `share.ranks` ranks, and what is uneven.
std::string DescribeShares(const ModelShape& shape, const RankShare& share);

}  // namespace sparkspan::engine::weights
