#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/model/mapped_checkpoint.h"
#include "engine/model/model_parts.h"
#include "kernels/numerics/profile.h"

namespace sparkspan::engine::model {

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

// The rank's parts of a mapped checkpoint; stretches that do not lie together are copied, all else
// is viewed in place. Errors name a tensor, or the numbers of ranks that work.
absl::StatusOr<ModelParts> AssembleParts(std::shared_ptr<const MappedCheckpoint> checkpoint,
                                         const RankShare& share);

}  // namespace sparkspan::engine::model
