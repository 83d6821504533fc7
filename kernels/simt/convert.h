#pragma once

// Conversions between fp32 and the storage formats, as bits, in the dialect's spelling. Their text
// is kernels/numerics, one for host and device, so both targets round alike by construction.
// Included by simt.h.
#include <cstdint>

#include "kernels/numerics/formats.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {
namespace simt {

SIMT_DEVICE float bf16_to_float(std::uint16_t bits) {
  return numerics::FloatOfBf16(bits);
}
SIMT_DEVICE std::uint16_t float_to_bf16(float value) {
  return numerics::Bf16OfFloat(value);
}
SIMT_DEVICE float round_to_bf16(float value) {
  return numerics::RoundToBf16(value);
}

// The low and high halves of a word of two bf16.
SIMT_DEVICE float low_bf16(std::uint32_t pair) {
  return float_of_bits(pair << 16);
}
SIMT_DEVICE float high_bf16(std::uint32_t pair) {
  return float_of_bits(pair & 0xFFFF0000U);
}
SIMT_DEVICE std::uint32_t pack_bf16(float low, float high) {
  return static_cast<std::uint32_t>(float_to_bf16(low)) |
         static_cast<std::uint32_t>(float_to_bf16(high)) << 16;
}
// The same for values that bf16 holds exactly.
SIMT_DEVICE std::uint32_t pack_exact_bf16(float low, float high) {
  return bits_of(low) >> 16 | (bits_of(high) & 0xFFFF0000U);
}

SIMT_DEVICE float e4m3_to_float(std::uint8_t byte) {
  return numerics::FloatOfE4m3(byte);
}
SIMT_DEVICE std::uint8_t float_to_e4m3(float value) {
  return numerics::E4m3OfFloat(value);
}
SIMT_DEVICE float e2m1_to_float(std::uint32_t code) {
  return numerics::FloatOfE2m1(code);
}
SIMT_DEVICE std::uint32_t float_to_e2m1(float value) {
  return numerics::E2m1OfFloat(value);
}

SIMT_DEVICE float ue8m0_to_float(std::uint32_t byte) {
  return numerics::FloatOfUe8m0(byte);
}
// The smallest power of two that brings a group's largest magnitude, not below its format's
// floor, into the format's range.
SIMT_DEVICE std::uint32_t e4m3_scale(float amax) {
  return numerics::Ue8m0ScaleOf(amax, numerics::kE4m3Max);
}
SIMT_DEVICE std::uint32_t e2m1_scale(float amax) {
  return numerics::Ue8m0ScaleOf(amax, numerics::kE2m1Max);
}
// What to multiply by to divide by the scale; exact for bytes 1 to 253.
SIMT_DEVICE float ue8m0_inverse(std::uint32_t byte) {
  return numerics::Ue8m0InverseOf(byte);
}

}  // namespace simt
}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
