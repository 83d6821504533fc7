#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "kernels/stored_weight.h"

// One rank's weights as the layer program uses them: views of tensors in their stored formats, and
// small vectors widened to fp32.
namespace sparkspan::engine::model {

struct LayerParts {
  int ratio = 0;  // 0, 4 or 128
  kernels::HyperConnectionWeights attention_site;
  std::span<const float> attention_norm;
  kernels::AttentionWeights attention;
  kernels::HyperConnectionWeights moe_site;
  std::span<const float> moe_norm;
  kernels::MoeWeights moe;
};

struct ModelParts {
  kernels::OpsShape shape;  // heads and groups of this rank
  std::vector<LayerParts> layers;
  std::int64_t vocabulary = 0;
  // Rows of the head that each rank holds, in rank order; sums to vocabulary.
  std::vector<std::int64_t> vocabulary_shares;
  // [this rank's share, hidden]; all of it where draft stages were loaded too.
  kernels::StoredWeight embedding;
  kernels::HyperConnectionWeights collapse;
  std::span<const float> norm;
  kernels::StoredWeight head;  // [this rank's share, hidden]

  // What the views point into. `storage` keeps the tensors; `widened` the fp32 vectors (a deque,
  // so that growing moves none), `tables` the routing tables.
  std::shared_ptr<const void> storage;
  std::deque<std::vector<float>> widened;
  std::deque<std::vector<std::int32_t>> tables;
};

}  // namespace sparkspan::engine::model
