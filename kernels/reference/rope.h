#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sparkspan::kernels::reference {

// Stretching of rotary frequencies beyond the trained context (YaRN, without its magnitude factor).
struct Yarn {
  float factor = 1.0f;
  std::int64_t original_positions = 0;
  float beta_fast = 32.0f;
  float beta_slow = 1.0f;
};

// Rotary position embedding of one base frequency: f_i = theta^(-2i/dim) for i < dim/2, and with
// `yarn` blended towards f_i / factor between the indices that turn beta_fast and beta_slow times
// within the original context. Every step is rounded to fp32 in the published reference's order
// (t = theta^(2i/dim), 1/t, blend, position * f): an angle computed more precisely would be a
// different model at long context.
class Rope {
 public:
  Rope(int dim, float theta, const Yarn* yarn);

  int dim() const { return 2 * static_cast<int>(frequencies_.size()); }
  std::span<const float> frequencies() const { return frequencies_; }

  // Cosines and sines of position * f_i, each [dim/2].
  void Table(std::int64_t position, std::span<float> cosines, std::span<float> sines) const;

 private:
  std::vector<float> frequencies_;
};

// Rotates adjacent pairs (x[2i], x[2i+1]) by the table's angles, or back by them. x: [dim].
void ApplyRope(std::span<float> x,
               std::span<const float> cosines,
               std::span<const float> sines,
               bool inverse,
               bool round);

}  // namespace sparkspan::kernels::reference
