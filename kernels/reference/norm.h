#pragma once

#include <span>

// Root-mean-square norms and the Hadamard rotation. With `round` the results are rounded to bf16
// where the published reference rounds them; without, they are fp32.
namespace sparkspan::kernels::reference {

// y = x / sqrt(mean(x^2) + epsilon) * gain, rounded once. x, gain, y: [n]; y may be x.
void RmsNorm(std::span<const float> x,
             std::span<const float> gain,
             float epsilon,
             bool round,
             std::span<float> y);

// x *= 1 / sqrt(mean(x^2) + epsilon), the per-head norm of queries, which has no gain. With `round`
// the square, mean, sum with epsilon, reciprocal root and product are each rounded to bf16, as the
// published reference's chain of bf16 operations does.
void HeadRmsNorm(std::span<float> x, float epsilon, bool round);

// x = H x / sqrt(n), H in Sylvester (natural) order; n a power of two. Butterflies in fp32.
void Hadamard(std::span<float> x, bool round);

}  // namespace sparkspan::kernels::reference
