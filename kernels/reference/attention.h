#pragma once

#include <span>

namespace sparkspan::kernels::reference {

// Attention of one query head over entries that are key and value at once, with a sink:
//   s_k = scale (q . e_k);  p_k = exp(s_k - M);  o = sum_k p_k e_k / (sum_k p_k + exp(sink - M))
// where M is the largest of all s_k and the sink. The sink is a logit without a value.
// q, out: [dim]; entries: [count, dim], in the order in which they are added. With `round`, p_k is
// rounded to bf16 where it weighs values (not in the denominator), and the result is.
void Attend(std::span<const float> q,
            std::span<const float> entries,
            float sink,
            float scale,
            bool round,
            std::span<float> out);

}  // namespace sparkspan::kernels::reference
