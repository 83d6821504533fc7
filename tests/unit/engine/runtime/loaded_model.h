#pragma once

#include <filesystem>
#include <memory>
#include <utility>

#include "engine/base/status.h"
#include "engine/model/bind_weights.h"
#include "engine/runtime/embedded_cluster.h"
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
  return [=](Rank rank, collective::Communicator* communicator)
             -> absl::StatusOr<std::unique_ptr<model::Model>> {
    ASSIGN_OR_RETURN(
        const auto loaded,
        weights::LoadRank(*checkpoint,
                          {.rank = rank.value(),
                           .ranks = ranks,
                           .experts_whole = options.numerics.quantises(),
                           .width_unit = weights::WidthUnitOf(options.numerics)}));
    return model::Model::Create(model::BindWeights(*loaded), options, communicator);
  };
}

}  // namespace sparkspan::engine::runtime
