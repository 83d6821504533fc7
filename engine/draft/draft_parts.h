#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "engine/model/model_parts.h"
#include "engine/weights/rank_weights.h"
#include "kernels/ops.h"
#include "kernels/stored_weight.h"

namespace sparkspan::engine::draft {

// One rank's weights as drafters use them: those of the stages, and the target's embedding and
// head, which stages share. Views of tensors in their stored formats, and small vectors widened to
// fp32.
struct DraftParts {
  kernels::OpsShape shape;  // heads and groups of this rank
  std::int64_t vocabulary = 0;
  std::vector<std::int64_t> vocabulary_shares;  // rows of the head each rank holds, in rank order
  kernels::StoredWeight embedding;              // [vocabulary, hidden]
  kernels::StoredWeight head;                   // [this rank's share, hidden]
  std::vector<model::LayerParts> stages;
  // Of the last stage.
  kernels::HyperConnectionWeights collapse;
  std::span<const float> norm;

  // DSpark.
  kernels::StoredWeight tap_projection;  // e4m3 [hidden, taps * hidden]
  std::span<const float> tap_norm;
  kernels::MarkovWeights markov;

  // MTP.
  kernels::TokenJoinWeights join;

  // What the views point into, as in model::ModelParts.
  std::shared_ptr<const void> storage;
  std::deque<std::vector<float>> widened;
  std::deque<std::vector<std::int32_t>> tables;
};

// `loaded` must hold draft stages (weights::LoadOptions::draft). Cannot fail: loading saw that all
// is there.
DraftParts BindDraft(const weights::RankWeights& loaded);

}  // namespace sparkspan::engine::draft
