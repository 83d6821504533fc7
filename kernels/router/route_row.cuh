#pragma once

#include "kernels/router/router.h"
#include "kernels/simt/simt.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kExpertsPerLane = kRouterExpertsMax / 32;
constexpr float kTaken = -3.0e38F;  // below every score

SIMT_DEVICE float router_score(float logit) {
  const float softplus =
      simt::log1p(simt::exp(-simt::absolute(logit))) + simt::maximum(logit, 0.0F);
  return simt::sqrt(softplus);
}

// The best of the warp's candidates, the lowest id among equals, known to every lane.
SIMT_DEVICE int best_of_warp(float score, int id) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const float other_score = simt::shuffle_xor(score, mask);
    const int other_id = simt::shuffle_xor(id, mask);
    const bool better = other_score > score || (other_score == score && other_id < id);
    score = better ? other_score : score;
    id = better ? other_id : id;
  }
  return id;
}

// The warp routes one row; lane l holds experts l, l + 32, ... in registers while the best are
// picked.
SIMT_DEVICE void route_row(const RouterArguments& arguments, int row) {
  const int lane = simt::lane_index();
  const float* logits = arguments.logits + static_cast<std::int64_t>(row) * arguments.experts;
  const int first = row * arguments.choices;
  // Lane c keeps the c-th choice.
  int chosen = 0;
  if (arguments.hashed_ids != nullptr) {
    chosen = lane < arguments.choices ? arguments.hashed_ids[first + lane] : 0;
  } else {
    float biased[kExpertsPerLane];
    SIMT_UNROLL
    for (int i = 0; i < kExpertsPerLane; ++i) {
      const int expert = lane + 32 * i;
      biased[i] = expert < arguments.experts
                      ? router_score(simt::load(logits + expert)) + arguments.bias[expert]
                      : kTaken;
    }
    for (int choice = 0; choice < arguments.choices; ++choice) {
      float score = kTaken;
      int id = kRouterExpertsMax;
      SIMT_UNROLL
      for (int i = 0; i < kExpertsPerLane; ++i) {
        if (biased[i] > score) {
          score = biased[i];
          id = lane + 32 * i;
        }
      }
      id = best_of_warp(score, id);
      SIMT_UNROLL
      for (int i = 0; i < kExpertsPerLane; ++i) {
        biased[i] = lane + 32 * i == id ? kTaken : biased[i];
      }
      chosen = lane == choice ? id : chosen;
    }
  }
  const bool mine = lane < arguments.choices;
  const float score = mine ? router_score(simt::load(logits + chosen)) : 0.0F;
  float sum = 0;
  for (int choice = 0; choice < arguments.choices; ++choice) {
    sum += simt::shuffle_from(score, choice);
  }
  if (mine) {
    simt::store(arguments.ids + first + lane, chosen);
    simt::store(arguments.weights + first + lane, simt::divide(score, sum) * arguments.route_scale);
  }
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
