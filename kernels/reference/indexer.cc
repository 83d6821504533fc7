#include "kernels/reference/indexer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/numerics/formats.h"

namespace sparkspan::kernels::reference {
namespace {

float Rounded(double value, bool round) {
  const auto single = static_cast<float>(value);
  return round ? numerics::RoundToBf16(single) : single;
}

}  // namespace

void ScaleIndexWeights(std::span<float> weights, int index_dim, bool round) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(index_dim)) /
                       std::sqrt(static_cast<double>(weights.size()));
  for (float& weight : weights) {
    weight = Rounded(Rounded(weight, round) * scale, round);
  }
}

float IndexScore(std::span<const float> queries,
                 std::span<const float> weights,
                 std::span<const float> key,
                 bool round) {
  double score = 0.0;
  for (std::size_t h = 0; h < weights.size(); ++h) {
    double dot = 0.0;
    for (std::size_t i = 0; i < key.size(); ++i) {
      dot += static_cast<double>(queries[h * key.size() + i]) * key[i];
    }
    const float clipped = std::max(Rounded(dot, round), 0.0f);
    score += round ? Rounded(static_cast<double>(clipped) * weights[h], round)
                   : static_cast<double>(clipped) * weights[h];
  }
  return Rounded(score, round);
}

int SelectTopK(std::span<const float> scores, std::span<std::int32_t> chosen) {
  const std::size_t count = std::min(scores.size(), chosen.size());
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&](std::int32_t a, std::int32_t b) {
    const float left = scores[static_cast<std::size_t>(a)];
    const float right = scores[static_cast<std::size_t>(b)];
    return left > right || (left == right && a < b);
  };
  if (count < scores.size()) {
    const auto middle = order.begin() + static_cast<std::ptrdiff_t>(count);
    std::nth_element(order.begin(), middle, order.end(), before);
    std::sort(order.begin(), middle);
  }
  std::copy_n(order.begin(), count, chosen.begin());
  std::fill(chosen.begin() + static_cast<std::ptrdiff_t>(count), chosen.end(), -1);
  return static_cast<int>(count);
}

}  // namespace sparkspan::kernels::reference
