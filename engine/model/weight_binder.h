#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "engine/model/model_parts.h"
#include "engine/weights/rank_weights.h"

namespace sparkspan::engine::model {

// Makes views of a loaded rank's tensors, by name. What has to be fp32 or 32-bit and is not stored
// so (bf16 vectors, routing tables) is converted into `widened` and `tables`, which the views point
// into. All is borrowed. Loading saw that every tensor is there.
class WeightBinder {
 public:
  WeightBinder(const weights::RankWeights& loaded,
               std::deque<std::vector<float>>* widened,
               std::deque<std::vector<std::int32_t>>* tables);

  // A tensor without scales.
  kernels::StoredWeight Weight(const std::string& name) const;
  // `name`.weight and its scales; empty where the rank holds nothing of it.
  kernels::StoredWeight Scaled(const std::string& name) const;
  // fp32 is viewed in place: slices are aligned.
  std::span<const float> Vector(const std::string& name);
  kernels::HyperConnectionWeights Site(const std::string& prefix);
  // A layer or a draft stage: attention and experts with their sites. `prefix` ends in a dot.
  LayerParts Block(const std::string& prefix, int ratio, bool hashed);
  // Rows of the vocabulary that each rank holds.
  std::vector<std::int64_t> VocabularyShares() const;

 private:
  const weights::TensorSlice& Slice(const std::string& name) const;
  std::span<const std::int32_t> Table(const std::string& name);
  kernels::CompressorWeights Compressor(const std::string& prefix);
  kernels::AttentionWeights Attention(const std::string& prefix, int ratio);
  kernels::ExpertWeights Expert(const std::string& prefix) const;
  kernels::MoeWeights Moe(const std::string& prefix, bool hashed);

  const weights::RankWeights& loaded_;
  std::deque<std::vector<float>>& widened_;
  std::deque<std::vector<std::int32_t>>& tables_;
};

}  // namespace sparkspan::engine::model
