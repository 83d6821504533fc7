#pragma once

#include <cstdint>
#include <span>

namespace sparkspan::kernels::reference {

// score_e = sqrt(softplus(logit_e)), in place.
void RouterScores(std::span<float> logits);

// The experts of highest score + bias, the lowest id first on a tie, in descending order. `bias`
// only selects.
void SelectExperts(std::span<const float> scores,
                   std::span<const float> bias,
                   std::span<std::int32_t> experts);

// weight_i = score of experts[i] / their sum * route_scale.
void RouteWeights(std::span<const float> scores,
                  std::span<const std::int32_t> experts,
                  float route_scale,
                  std::span<float> weights);

// gate[i] = silu(min(gate[i], limit)) * clamp(up[i], -limit, limit) * weight, in place: an expert's
// activation with its routing weight. limit 0: no clamps.
void SwiGlu(
    std::span<float> gate, std::span<const float> up, float limit, float weight, bool round);

}  // namespace sparkspan::kernels::reference
