#include "engine/draft/choose_drafter.h"

#include <string>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace sparkspan::engine::draft {
namespace {

std::string Held(const weights::ModelShape& shape) {
  switch (shape.draft) {
    case weights::DraftKind::kDspark:
      return absl::StrFormat("a DSpark drafter of %d stages (mtp.0.main_proj.weight)",
                             shape.draft_stages);
    case weights::DraftKind::kMtp:
      return "an MTP block (mtp.0.e_proj.weight)";
    case weights::DraftKind::kNone:
      break;
  }
  return "no draft stages (mtp.*)";
}

}  // namespace

DrafterKind KindOf(const weights::ModelShape& shape) {
  switch (shape.draft) {
    case weights::DraftKind::kDspark:
      return DrafterKind::kDspark;
    case weights::DraftKind::kMtp:
      return DrafterKind::kMtp;
    case weights::DraftKind::kNone:
      break;
  }
  return DrafterKind::kNone;
}

absl::Status CheckKind(const weights::ModelShape& shape, DrafterKind asked) {
  const DrafterKind held = KindOf(shape);
  if (asked == DrafterKind::kNone || asked == held) {
    return absl::OkStatus();
  }
  const std::string instead =
      held == DrafterKind::kNone ? "" : absl::StrFormat("%s or ", ToString(held));
  return absl::InvalidArgumentError(
      absl::StrFormat("drafter %s: this checkpoint holds %s, which cannot run as %s; use %snone",
                      ToString(asked),
                      Held(shape),
                      ToString(asked),
                      instead));
}

absl::StatusOr<DrafterKind> ChooseDrafter(const weights::ModelShape& shape,
                                          std::string_view asked) {
  if (asked == "auto") {
    return KindOf(shape);
  }
  for (const DrafterKind kind : {DrafterKind::kNone, DrafterKind::kDspark, DrafterKind::kMtp}) {
    if (asked == ToString(kind)) {
      RETURN_IF_ERROR(CheckKind(shape, kind));
      return kind;
    }
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("drafter '%s': give auto, none, dspark or mtp", asked));
}

int BlockOf(const weights::ModelShape& shape, DrafterKind kind, int mtp_block) {
  switch (kind) {
    case DrafterKind::kDspark:
      return shape.dspark->block_size;
    case DrafterKind::kMtp:
      return mtp_block;
    case DrafterKind::kNone:
      break;
  }
  return 0;
}

}  // namespace sparkspan::engine::draft
