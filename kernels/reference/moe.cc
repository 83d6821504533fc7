#include "kernels/reference/moe.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/numerics/formats.h"

namespace sparkspan::kernels::reference {

void RouterScores(std::span<float> logits) {
  for (float& value : logits) {
    const double x = value;
    value = static_cast<float>(std::sqrt(std::log1p(std::exp(-std::fabs(x))) + std::max(x, 0.0)));
  }
}

void SelectExperts(std::span<const float> scores,
                   std::span<const float> bias,
                   std::span<std::int32_t> experts) {
  std::vector<float> biased(scores.size());
  std::transform(scores.begin(), scores.end(), bias.begin(), biased.begin(), std::plus<float>());
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(),
                    order.begin() + static_cast<std::ptrdiff_t>(experts.size()),
                    order.end(),
                    [&](std::int32_t a, std::int32_t b) {
                      const float left = biased[static_cast<std::size_t>(a)];
                      const float right = biased[static_cast<std::size_t>(b)];
                      return left > right || (left == right && a < b);
                    });
  std::copy_n(order.begin(), experts.size(), experts.begin());
}

void RouteWeights(std::span<const float> scores,
                  std::span<const std::int32_t> experts,
                  float route_scale,
                  std::span<float> weights) {
  double sum = 0.0;
  for (const std::int32_t expert : experts) {
    sum += scores[static_cast<std::size_t>(expert)];
  }
  for (std::size_t i = 0; i < experts.size(); ++i) {
    const double score = scores[static_cast<std::size_t>(experts[i])];
    weights[i] = static_cast<float>(score / sum * route_scale);
  }
}

void SwiGlu(
    std::span<float> gate, std::span<const float> up, float limit, float weight, bool round) {
  for (std::size_t i = 0; i < gate.size(); ++i) {
    double a = gate[i];
    double b = up[i];
    if (limit > 0.0f) {
      a = std::min(a, static_cast<double>(limit));
      b = std::clamp(b, -static_cast<double>(limit), static_cast<double>(limit));
    }
    const auto value = static_cast<float>(a / (1.0 + std::exp(-a)) * b * weight);
    gate[i] = round ? numerics::RoundToBf16(value) : value;
  }
}

}  // namespace sparkspan::kernels::reference
