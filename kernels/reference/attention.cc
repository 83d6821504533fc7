#include "kernels/reference/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/numerics/formats.h"

namespace sparkspan::kernels::reference {

void Attend(std::span<const float> q,
            std::span<const float> entries,
            float sink,
            float scale,
            bool round,
            std::span<float> out) {
  const std::size_t dim = q.size();
  const std::size_t count = entries.size() / dim;
  std::vector<double> weights(count);
  double largest = sink;
  for (std::size_t k = 0; k < count; ++k) {
    double dot = 0.0;
    for (std::size_t i = 0; i < dim; ++i) {
      dot += static_cast<double>(q[i]) * entries[k * dim + i];
    }
    weights[k] = dot * scale;
    largest = std::max(largest, weights[k]);
  }
  double denominator = std::exp(sink - largest);
  for (double& weight : weights) {
    weight = std::exp(weight - largest);
    denominator += weight;
    if (round) {
      weight = numerics::RoundToBf16(static_cast<float>(weight));
    }
  }
  for (std::size_t i = 0; i < dim; ++i) {
    double sum = 0.0;
    for (std::size_t k = 0; k < count; ++k) {
      sum += weights[k] * entries[k * dim + i];
    }
    const auto value = static_cast<float>(sum / denominator);
    out[i] = round ? numerics::RoundToBf16(value) : value;
  }
}

}  // namespace sparkspan::kernels::reference
