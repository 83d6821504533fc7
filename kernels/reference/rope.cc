#include "kernels/reference/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/numerics/formats.h"

namespace sparkspan::kernels::reference {

Rope::Rope(int dim, float theta, const Yarn* yarn) {
  for (int i = 0; i < dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
    frequencies_.push_back(1.0f / std::pow(theta, exponent));
  }
  if (yarn == nullptr) {
    return;
  }
  const auto turns_index = [&](double turns) {
    return dim *
           std::log(static_cast<double>(yarn->original_positions) /
                    (turns * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(static_cast<double>(theta)));
  };
  const double low = std::max(std::floor(turns_index(yarn->beta_fast)), 0.0);
  double high = std::min(std::ceil(turns_index(yarn->beta_slow)), dim - 1.0);
  if (low == high) {
    high += 0.001;
  }
  for (int i = 0; i < dim / 2; ++i) {
    const float ramp = std::clamp(
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low),
        0.0f,
        1.0f);
    float& frequency = frequencies_[static_cast<std::size_t>(i)];
    const float smooth = 1.0f - ramp;
    frequency = frequency / yarn->factor * (1.0f - smooth) + frequency * smooth;
  }
}

void Rope::Table(std::int64_t position, std::span<float> cosines, std::span<float> sines) const {
  for (std::size_t i = 0; i < frequencies_.size(); ++i) {
    const float angle = static_cast<float>(position) * frequencies_[i];
    cosines[i] = static_cast<float>(std::cos(static_cast<double>(angle)));
    sines[i] = static_cast<float>(std::sin(static_cast<double>(angle)));
  }
}

void ApplyRope(std::span<float> x,
               std::span<const float> cosines,
               std::span<const float> sines,
               bool inverse,
               bool round) {
  for (std::size_t i = 0; i < x.size() / 2; ++i) {
    const float sine = inverse ? -sines[i] : sines[i];
    const float first = x[2 * i] * cosines[i] - x[2 * i + 1] * sine;
    const float second = x[2 * i] * sine + x[2 * i + 1] * cosines[i];
    x[2 * i] = round ? numerics::RoundToBf16(first) : first;
    x[2 * i + 1] = round ? numerics::RoundToBf16(second) : second;
  }
}

}  // namespace sparkspan::kernels::reference
