#include "kernels/reference/norm.h"

#include <cmath>

#include "kernels/numerics/formats.h"

namespace sparkspan::kernels::reference {
namespace {

float Rounded(double value, bool round) {
  const auto single = static_cast<float>(value);
  return round ? numerics::RoundToBf16(single) : single;
}

}  // namespace

void RmsNorm(std::span<const float> x,
             std::span<const float> gain,
             float epsilon,
             bool round,
             std::span<float> y) {
  double squares = 0.0;
  for (const float value : x) {
    squares += static_cast<double>(value) * value;
  }
  const double scale =
      1.0 / std::sqrt(squares / static_cast<double>(x.size()) + static_cast<double>(epsilon));
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] = Rounded(x[i] * scale * gain[i], round);
  }
}

void HeadRmsNorm(std::span<float> x, float epsilon, bool round) {
  double squares = 0.0;
  for (const float value : x) {
    squares += Rounded(static_cast<double>(value) * value, round);
  }
  const float mean = Rounded(squares / static_cast<double>(x.size()), round);
  const float shifted = Rounded(static_cast<double>(mean) + epsilon, round);
  const float scale = Rounded(1.0 / std::sqrt(static_cast<double>(shifted)), round);
  for (float& value : x) {
    value = Rounded(static_cast<double>(value) * scale, round);
  }
}

void Hadamard(std::span<float> x, bool round) {
  for (std::size_t half = 1; half < x.size(); half *= 2) {
    for (std::size_t begin = 0; begin < x.size(); begin += 2 * half) {
      for (std::size_t i = begin; i < begin + half; ++i) {
        const float a = x[i];
        const float b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(x.size()));
  for (float& value : x) {
    value = round ? numerics::RoundToBf16(value * scale) : value * scale;
  }
}

}  // namespace sparkspan::kernels::reference
