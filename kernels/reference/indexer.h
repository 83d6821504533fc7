#pragma once

#include <cstdint>
#include <span>

namespace sparkspan::kernels::reference {

// The weight of each index head: projection / sqrt(index_dim) / sqrt(heads). With `round` the
// projection and the product are rounded to bf16. In place, [heads].
void ScaleIndexWeights(std::span<float> weights, int index_dim, bool round);

// The score of one compressed entry for one row: sum_h w_h relu(q_h . k). queries: [heads,
// key.size()]. With `round` the product, each weighted term and the sum are rounded to bf16.
float IndexScore(std::span<const float> queries,
                 std::span<const float> weights,
                 std::span<const float> key,
                 bool round);

// The min(chosen.size(), scores.size()) entries of highest score, the lowest index first on a tie,
// written in ascending order; the rest of `chosen` is -1. Returns how many were chosen.
int SelectTopK(std::span<const float> scores, std::span<std::int32_t> chosen);

}  // namespace sparkspan::kernels::reference
