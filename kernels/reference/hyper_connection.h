#pragma once

#include <span>

// Manifold-constrained hyper-connections: m parallel residual streams h [m, hidden], from which a
// sublayer's input is mixed and to which its output is returned.
namespace sparkspan::kernels::reference {

struct HyperConnectionEpsilons {
  float norm = 1e-6f;      // inside the root-mean-square over all streams
  float sinkhorn = 1e-6f;  // everywhere else
};

// Splits the projection of one site into its coefficients. `mixes` [m (m + 2)] is fn . flatten(h)
// times 1 / sqrt(mean(h^2) + norm epsilon); base: as mixes; scale: [3].
//   pre[i] = sigmoid(.) + eps                 weight of stream i in the sublayer's input
//   post[j] = 2 sigmoid(.)                    weight of the sublayer's output in stream j
//   comb[i, j]                                weight of old stream i in new stream j
// comb is made nearly doubly stochastic: a softmax of each row plus eps, then division by column
// sums and row sums in turn, `iterations` of each in all, columns last.
void SplitMixes(std::span<const float> mixes,
                std::span<const float> base,
                std::span<const float> scale,
                int streams,
                int iterations,
                float epsilon,
                std::span<float> pre,
                std::span<float> post,
                std::span<float> comb);

// The coefficient of the final collapse: sigmoid(mix * scale + base) + eps. All [m]; scale [1].
void HeadMixes(std::span<const float> mixes,
               std::span<const float> base,
               float scale,
               float epsilon,
               std::span<float> pre);

// u = sum_i pre[i] h[i]. h: [m, hidden]; u: [hidden].
void MixStreams(std::span<const float> h,
                std::span<const float> pre,
                bool round,
                std::span<float> u);

// h'[j] = post[j] y + sum_i comb[i, j] h[i], in place. h: [m, hidden]; y: [hidden].
void ReturnToStreams(std::span<const float> y,
                     std::span<const float> post,
                     std::span<const float> comb,
                     bool round,
                     std::span<float> h);

}  // namespace sparkspan::kernels::reference
