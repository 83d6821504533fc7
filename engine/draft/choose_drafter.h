#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/draft/drafter.h"
#include "engine/weights/model_shape.h"

// Which drafter a checkpoint can have, known from its headers: the head plans by it, workers load
// by it.
namespace sparkspan::engine::draft {

// What the checkpoint holds.
DrafterKind KindOf(const weights::ModelShape& shape);

// Refuses a kind that the checkpoint does not hold, saying which it does. kNone always works.
absl::Status CheckKind(const weights::ModelShape& shape, DrafterKind asked);

// `asked` as in cluster.yaml: the name of a kind, or "auto" for what the checkpoint holds. Errors:
// CheckKind's; another name.
absl::StatusOr<DrafterKind> ChooseDrafter(const weights::ModelShape& shape, std::string_view asked);

// Drafts of one proposal, 0 for kNone. `mtp_block`: of an MTP drafter, which the checkpoint leaves
// open.
int BlockOf(const weights::ModelShape& shape, DrafterKind kind, int mtp_block = 1);

}  // namespace sparkspan::engine::draft
