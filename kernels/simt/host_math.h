#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

// The dialect's arithmetic on the host. Correctly rounded operations are bit-equal to the GPU's;
// exp2, exp, log1p are approximate there, within the tolerance that docs/kernels.md states.
namespace sparkspan::kernels {
inline namespace emulated {
namespace simt {

inline float fma(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float sqrt(float x) {
  return std::sqrt(x);
}
inline float divide(float a, float b) {
  return a / b;
}
inline float reciprocal(float x) {
  return 1.0F / x;
}
inline float rsqrt(float x) {
  return 1.0F / std::sqrt(x);
}
inline float exp2(float x) {
  return std::exp2(x);
}
inline float exp(float x) {
  return std::exp(x);
}
inline float log(float x) {
  return std::log(x);
}
inline float log1p(float x) {
  return std::log1p(x);
}
inline float absolute(float x) {
  return std::fabs(x);
}
// As the hardware's: the other operand when one is NaN.
inline float maximum(float a, float b) {
  return std::fmax(a, b);
}
inline float minimum(float a, float b) {
  return std::fmin(a, b);
}
inline std::uint32_t bits_of(float x) {
  return std::bit_cast<std::uint32_t>(x);
}
inline float float_of_bits(std::uint32_t x) {
  return std::bit_cast<float>(x);
}
inline int count_bits(std::uint32_t x) {
  return std::popcount(x);
}
inline int leading_zeros(std::uint32_t x) {
  return std::countl_zero(x);
}
// (a * b) >> 32, the multiplier of counter-based random numbers.
inline std::uint32_t multiply_high(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(a) * b) >> 32);
}

}  // namespace simt
}  // namespace emulated
}  // namespace sparkspan::kernels
