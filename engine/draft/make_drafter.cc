#include "engine/draft/make_drafter.h"

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/draft/draft_parts.h"
#include "engine/draft/dspark_drafter.h"
#include "engine/draft/mtp_drafter.h"
#include "engine/draft/stage_runner.h"
#include "engine/model/draft_layout.h"
#include "engine/model/execution.h"

namespace sparkspan::engine::draft {
absl::StatusOr<std::unique_ptr<Drafter>> MakeDrafter(const weights::RankWeights& loaded,
                                                     const DrafterOptions& options,
                                                     const model::ModelOptions& model,
                                                     collective::Communicator* communicator) {
  const weights::ModelShape& shape = loaded.shape();
  RETURN_IF_ERROR(CheckKind(shape, options.kind));
  if (options.kind == DrafterKind::kNone) {
    return nullptr;
  }
  if (options.mtp_block < 1 || options.mtp_block > model::kMtpBlockMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("mtp_block is %d: give 1 to %d", options.mtp_block, model::kMtpBlockMax));
  }
  if (loaded.Find("mtp.0.attn.wkv.weight") == nullptr) {
    return absl::FailedPreconditionError(
        "these weights were loaded without draft stages: load them with LoadOptions::draft");
  }
  DraftParts parts = BindDraft(loaded);
  for (std::size_t stage = 0; stage < parts.stages.size(); ++stage) {
    RETURN_IF_ERROR(model::CheckShares(
        parts.stages[stage], absl::StrFormat("draft stage %d", stage), model.numerics));
  }
  const model::DraftLayout layout = model::DraftLayoutOf(shape, model.numerics, options.mtp_block);
  ASSIGN_OR_RETURN(model::ExecutionParts execution,
                   model::MakeExecution(parts.shape, layout.rings, model));
  StageRunner runner(
      std::move(parts), shape, loaded.share(), layout, std::move(execution), communicator);
  if (options.kind == DrafterKind::kMtp) {
    return std::make_unique<MtpDrafter>(std::move(runner));
  }
  return std::make_unique<DsparkDrafter>(std::move(runner));
}

}  // namespace sparkspan::engine::draft
