#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/collective/communicator.h"
#include "engine/draft/choose_drafter.h"
#include "engine/draft/drafter.h"
#include "engine/model/model.h"
#include "engine/weights/model_shape.h"
#include "engine/weights/rank_weights.h"

namespace sparkspan::engine::draft {

struct DrafterOptions {
  DrafterKind kind = DrafterKind::kNone;
  // Drafts per request of an MTP drafter: 1 to model::kMtpBlockMax. Those after the first are made
  // of the drafter's own streams instead of the target's.
  int mtp_block = 1;
};

// Null for kNone. `loaded` keeps nothing but its memory, which the drafter shares; `model` are the
// options of the target, of which numerics, device and threads count here; `communicator` is
// borrowed and must outlive the drafter, null for a single rank. Errors: CheckKind's; options out
// of range; a share that the profile cannot compute exactly; weights loaded without draft stages.
absl::StatusOr<std::unique_ptr<Drafter>> MakeDrafter(const weights::RankWeights& loaded,
                                                     const DrafterOptions& options,
                                                     const model::ModelOptions& model,
                                                     collective::Communicator* communicator);

}  // namespace sparkspan::engine::draft
