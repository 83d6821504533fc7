#pragma once

#include <filesystem>
#include <memory>
#include <utility>

#include "engine/base/status.h"
#include "engine/draft/make_drafter.h"
#include "engine/model/bind_weights.h"
#include "engine/runtime/embedded_cluster.h"
#include "engine/runtime/rank_model.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/rank_weights.h"

// The one place of these tests that knows how a checkpoint becomes models.
namespace sparkspan::engine::runtime {

// A loader for EmbeddedClusterOptions. Experts are dealt whole where activations are quantised, as
// a small model's do not divide into groups of 128.
inline auto LoaderOf(const std::filesystem::path& folder,
                     int ranks,
                     const model::ModelOptions& options) {
  const auto checkpoint = weights::Checkpoint::Open(folder).value();
  return
      [=](Rank rank,
          collective::Communicator* communicator) -> absl::StatusOr<std::unique_ptr<model::Model>> {
        ASSIGN_OR_RETURN(const auto loaded,
                         weights::LoadRank(*checkpoint,
                                           {.rank = rank.value(),
                                            .ranks = ranks,
                                            .experts_whole = options.numerics.quantises(),
                                            .width_unit = weights::WidthUnitOf(options.numerics)}));
        return model::Model::Create(model::BindWeights(*loaded), options, communicator);
      };
}

// The same with the drafter that the checkpoint holds, and a target that can take its drafts back.
inline auto DraftingLoaderOf(const std::filesystem::path& folder,
                             int ranks,
                             model::ModelOptions options) {
  const auto checkpoint = weights::Checkpoint::Open(folder).value();
  const draft::DrafterOptions drafting{.kind = draft::KindOf(checkpoint->shape())};
  options.rewind_rows_max = draft::BlockOf(checkpoint->shape(), drafting.kind) + 1;
  return [=](Rank rank, collective::Communicator* communicator) -> absl::StatusOr<RankModel> {
    ASSIGN_OR_RETURN(const auto loaded,
                     weights::LoadRank(*checkpoint,
                                       {.rank = rank.value(),
                                        .ranks = ranks,
                                        .experts_whole = options.numerics.quantises(),
                                        .width_unit = weights::WidthUnitOf(options.numerics)},
                                       {.draft = true}));
    RankModel made;
    ASSIGN_OR_RETURN(made.model,
                     model::Model::Create(model::BindWeights(*loaded), options, communicator));
    ASSIGN_OR_RETURN(made.drafter, draft::MakeDrafter(*loaded, drafting, options, communicator));
    return made;
  };
}

}  // namespace sparkspan::engine::runtime
