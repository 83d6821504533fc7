#include "kernels/reference/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/numerics/formats.h"

namespace sparkspan::kernels::reference {

float RunningMaxima(std::span<const float> scores,
                    std::span<const std::int32_t> slots,
                    std::span<float> shifts,
                    std::span<float> factors) {
  float largest = scores[0];
  for (std::size_t begin = 0; begin < scores.size();) {
    std::size_t end = begin;
    while (end < scores.size() && slots[end] / kSlotBlock == slots[begin] / kSlotBlock) {
      largest = std::max(largest, scores[end]);
      ++end;
    }
    std::fill(shifts.begin() + static_cast<std::ptrdiff_t>(begin),
              shifts.begin() + static_cast<std::ptrdiff_t>(end),
              largest);
    begin = end;
  }
  for (std::size_t k = 0; k < scores.size(); ++k) {
    const bool same_block = k > 0 && shifts[k] == shifts[k - 1];
    factors[k] = same_block ? factors[k - 1] : std::exp(shifts[k] - largest);
  }
  return largest;
}

float SinkWeight(float sink, float largest) {
  constexpr float kExponentMax = 80.0f;
  return std::exp(std::min(sink - largest, kExponentMax));
}

void Attend(std::span<const float> q,
            std::span<const float> entries,
            std::span<const std::int32_t> slots,
            float sink,
            float scale,
            bool round,
            std::span<float> out) {
  const std::size_t dim = q.size();
  const std::size_t count = slots.size();
  if (count == 0) {
    std::fill(out.begin(), out.end(), 0.0f);
    return;
  }
  std::vector<float> scores(count);
  for (std::size_t k = 0; k < count; ++k) {
    double dot = 0.0;
    for (std::size_t i = 0; i < dim; ++i) {
      dot += static_cast<double>(q[i]) * entries[k * dim + i];
    }
    scores[k] = static_cast<float>(dot * scale);
  }
  std::vector<float> shifts(count);
  std::vector<float> factors(count);
  const float largest = RunningMaxima(scores, slots, shifts, factors);
  std::vector<double> weights(count);
  double denominator = SinkWeight(sink, largest);
  for (std::size_t k = 0; k < count; ++k) {
    const double weight = std::exp(static_cast<double>(scores[k]) - shifts[k]);
    denominator += weight * factors[k];
    weights[k] = (round ? numerics::RoundToBf16(static_cast<float>(weight)) : weight) * factors[k];
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
