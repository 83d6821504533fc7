#pragma once

// Conversions between fp32 and the storage formats, as bits: the same text for both targets, so
// that both round alike by construction. Every narrowing rounds to nearest, ties to even, and
// saturates; a negative value that rounds to zero keeps its sign. Included by simt.h.
#include <cstdint>

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {
namespace simt {

SIMT_DEVICE float bf16_to_float(std::uint16_t bits) {
  return float_of_bits(static_cast<std::uint32_t>(bits) << 16);
}
SIMT_DEVICE std::uint16_t float_to_bf16(float value) {
  const std::uint32_t bits = bits_of(value);
  if (value != value) {
    return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
  }
  return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}
SIMT_DEVICE float round_to_bf16(float value) {
  return bf16_to_float(float_to_bf16(value));
}

// The low and high halves of a word of two.
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

// Rounds |x| < 2^22 to an integer, ties to even.
SIMT_DEVICE float round_to_integer(float x) {
  constexpr float kMagic = 12582912.0F;  // 1.5 * 2^23
  return (x + kMagic) - kMagic;
}

SIMT_DEVICE float e4m3_to_float(std::uint8_t byte) {
  if ((byte & 0x7FU) == 0x7FU) {
    return float_of_bits(0x7FC00000U);
  }
  const std::uint32_t bits = static_cast<std::uint32_t>(byte & 0x80U) << 24 |
                             static_cast<std::uint32_t>(byte & 0x7FU) << 20;
  return float_of_bits(bits) * 0x1p120F;
}
SIMT_DEVICE std::uint8_t float_to_e4m3(float value) {
  if (value != value) {
    return 0x7FU;
  }
  const auto sign = static_cast<std::uint8_t>(bits_of(value) >> 24 & 0x80U);
  const float magnitude = minimum(absolute(value), 448.0F);
  if (magnitude < 0x1p-6F) {
    return static_cast<std::uint8_t>(
        sign | static_cast<std::uint8_t>(round_to_integer(magnitude * 512.0F)));
  }
  const std::uint32_t bits = bits_of(magnitude);
  const std::uint32_t rounded = (bits + 0x7FFFFU + (bits >> 20 & 1U)) >> 20;
  return static_cast<std::uint8_t>(sign | static_cast<std::uint8_t>(rounded - (120U << 3)));
}

SIMT_DEVICE float e2m1_to_float(std::uint32_t code) {
  // Sign, two bits of exponent and one of mantissa, moved to where fp32 has them.
  return float_of_bits((code & 8U) << 28 | (code & 7U) << 22) * 0x1p126F;
}
SIMT_DEVICE std::uint32_t float_to_e2m1(float value) {
  const std::uint32_t sign = bits_of(value) >> 28 & 8U;
  const float magnitude = minimum(absolute(value), 6.0F);
  if (magnitude < 2.0F) {
    return sign | static_cast<std::uint32_t>(round_to_integer(magnitude * 2.0F));
  }
  if (magnitude < 4.0F) {
    return sign | (2U + static_cast<std::uint32_t>(round_to_integer(magnitude)));
  }
  return sign | (4U + static_cast<std::uint32_t>(round_to_integer(magnitude * 0.5F)));
}

// 2^(byte - 127); the byte 0 is fp32's subnormal 2^-127, 0xFF is NaN.
SIMT_DEVICE float ue8m0_to_float(std::uint32_t byte) {
  if (byte == 0xFFU) {
    return float_of_bits(0x7FC00000U);
  }
  return byte == 0 ? float_of_bits(0x00400000U) : float_of_bits(byte << 23);
}
// The smallest power of two, as UE8M0, that is not less than amax * inverse_of_largest. amax must
// be at least the floor of its format, so that the product is a normal number.
SIMT_DEVICE std::uint32_t ue8m0_scale(float amax, float inverse_of_largest) {
  const std::uint32_t bits = bits_of(amax * inverse_of_largest);
  return (bits >> 23) + ((bits & 0x7FFFFFU) != 0 ? 1U : 0U);
}
// What to multiply by to divide by the scale; exact for bytes 1 to 253.
SIMT_DEVICE float ue8m0_inverse(std::uint32_t byte) {
  return float_of_bits((254U - byte) << 23);
}

constexpr float kInverseE4m3Max = 1.0F / 448.0F;
constexpr float kInverseE2m1Max = 1.0F / 6.0F;
constexpr float kActivationAmaxMin = 1e-4F;     // of e4m3 activations and cache entries
constexpr float kIndexAmaxMin = 6 * 0x1p-126F;  // of e2m1 index queries and keys

}  // namespace simt
}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
