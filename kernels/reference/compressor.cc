#include "kernels/reference/compressor.h"

#include <algorithm>
#include <cmath>

#include "kernels/numerics/formats.h"

namespace sparkspan::kernels::reference {

void PoolCandidates(std::span<const PoolingCandidate> candidates,
                    bool round,
                    std::span<float> out) {
  for (std::size_t c = 0; c < out.size(); ++c) {
    double largest = candidates[0].gates[c];
    for (const PoolingCandidate& candidate : candidates) {
      largest = std::max(largest, static_cast<double>(candidate.gates[c]));
    }
    double sum = 0.0;
    double weighted = 0.0;
    for (const PoolingCandidate& candidate : candidates) {
      const double weight = std::exp(candidate.gates[c] - largest);
      sum += weight;
      weighted += weight * candidate.values[c];
    }
    const auto value = static_cast<float>(weighted / sum);
    out[c] = round ? numerics::RoundToBf16(value) : value;
  }
}

}  // namespace sparkspan::kernels::reference
