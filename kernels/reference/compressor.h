#pragma once

#include <span>

namespace sparkspan::kernels::reference {

// One token's candidate for a compressed entry: the projected values and the gate values (with the
// positional term added) of the channels concerned, [dim] each.
struct PoolingCandidate {
  const float* values = nullptr;
  const float* gates = nullptr;
};

// out[c] = sum_t softmax_t(gate_t[c]) value_t[c], a softmax over the candidates per channel.
// candidates in order of position, not empty; out: [dim].
void PoolCandidates(std::span<const PoolingCandidate> candidates, bool round, std::span<float> out);

}  // namespace sparkspan::kernels::reference
