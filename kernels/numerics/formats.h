#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/numerics/host_device.h"

// The number formats that weights, activations and caches are stored in, as bits, and how fp32 is
// narrowed to them: to nearest, ties to even, saturating (never an infinity, never a NaN from a
// number). A negative value that rounds to zero keeps its sign bit.
//
//   bf16   the upper half of an fp32
//   e4m3   s eeee mmm, bias 7, largest 448, subnormal step 2^-9, no infinity; 0x7F and 0xFF are NaN
//   e2m1   s ee m: 0, 0.5, 1, 1.5, 2, 3, 4, 6
//   ue8m0  2^(byte - 127); 0xFF is NaN; the byte 0 is 2^-127, an fp32 subnormal
namespace sparkspan::kernels::numerics {

inline constexpr float kE4m3Max = 448.0f;
inline constexpr float kE2m1Max = 6.0f;

// Floors of a group's largest magnitude, below which its scale does not shrink.
inline constexpr float kE4m3AmaxMin = 1e-4f;
inline constexpr float kE2m1AmaxMin = 6.0f * 0x1p-126f;

SPARKSPAN_HOST_DEVICE inline std::uint32_t BitsOf(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

SPARKSPAN_HOST_DEVICE inline float FloatOfBits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

SPARKSPAN_HOST_DEVICE inline float FloatOfBf16(std::uint16_t code) {
  return FloatOfBits(static_cast<std::uint32_t>(code) << 16);
}

SPARKSPAN_HOST_DEVICE inline std::uint16_t Bf16OfFloat(float value) {
  const std::uint32_t bits = BitsOf(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) {
    return static_cast<std::uint16_t>(bits >> 16 | 0x40u);  // A NaN must not round to infinity.
  }
  return static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

SPARKSPAN_HOST_DEVICE inline float RoundToBf16(float value) {
  return FloatOfBf16(Bf16OfFloat(value));
}

SPARKSPAN_HOST_DEVICE inline float FloatOfE4m3(std::uint8_t code) {
  if ((code & 0x7Fu) == 0x7Fu) {
    return FloatOfBits(0x7FC00000u);
  }
  // The fields moved to where fp32 has them, then the difference of the biases as an exact factor,
  // which also normalises subnormals.
  const std::uint32_t bits = (code & 0x80u) << 24 | (code & 0x7Fu) << 20;
  return FloatOfBits(bits) * 0x1p120f;
}

// Rounds 0 <= x < 2^22 to an integer, ties to even.
SPARKSPAN_HOST_DEVICE inline std::uint32_t RoundToInteger(float x) {
  // Adding 2^23 leaves no fraction bits: the addition itself rounds, and the low bits are x.
  return BitsOf(x + 0x1p23f) & 0x7FFFFFu;
}

SPARKSPAN_HOST_DEVICE inline std::uint8_t E4m3OfFloat(float value) {
  const std::uint32_t bits = BitsOf(value);
  const std::uint32_t sign = bits >> 24 & 0x80u;
  std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) {
    return 0x7Fu;
  }
  if (magnitude > BitsOf(kE4m3Max)) {
    magnitude = BitsOf(kE4m3Max);
  }
  if (magnitude < BitsOf(0x1p-6f)) {
    return static_cast<std::uint8_t>(sign | RoundToInteger(FloatOfBits(magnitude) * 512.0f));
  }
  const std::uint32_t rounded = (magnitude + 0x7FFFFu + (magnitude >> 20 & 1u)) >> 20;
  return static_cast<std::uint8_t>(sign | (rounded - (120u << 3)));
}

SPARKSPAN_HOST_DEVICE inline float FloatOfE2m1(std::uint32_t code) {
  return FloatOfBits((code & 8u) << 28 | (code & 7u) << 22) * 0x1p126f;
}

SPARKSPAN_HOST_DEVICE inline std::uint32_t E2m1OfFloat(float value) {
  const std::uint32_t bits = BitsOf(value);
  const std::uint32_t sign = bits >> 28 & 8u;
  const float magnitude = FloatOfBits(bits & 0x7FFFFFFFu);
  // Every comparison is false for a NaN, which saturates.
  if (magnitude < 2.0f) {
    return sign | RoundToInteger(magnitude * 2.0f);
  }
  if (magnitude < 4.0f) {
    return sign | (RoundToInteger(magnitude) + 2u);
  }
  return sign | (magnitude < kE2m1Max ? RoundToInteger(magnitude * 0.5f) + 4u : 7u);
}

SPARKSPAN_HOST_DEVICE inline float FloatOfUe8m0(std::uint32_t code) {
  if (code == 0xFFu) {
    return FloatOfBits(0x7FC00000u);
  }
  return FloatOfBits(code == 0 ? 0x00400000u : code << 23);
}

// The code of the smallest power of two that is not less than amax / largest, by the bits of the
// product with the reciprocal, as the reference takes it: log2f would err at powers of two. amax
// must not be below its format's floor, so that the product is a normal number.
SPARKSPAN_HOST_DEVICE inline std::uint32_t Ue8m0ScaleOf(float amax, float largest) {
  const std::uint32_t bits = BitsOf(amax * (1.0f / largest));
  return (bits >> 23) + ((bits & 0x7FFFFFu) != 0 ? 1u : 0u);
}

// 1 / scale for codes 1 to 253: what a value is multiplied by, exactly, before it is narrowed.
SPARKSPAN_HOST_DEVICE inline float Ue8m0InverseOf(std::uint32_t code) {
  return FloatOfBits((254u - code) << 23);
}

}  // namespace sparkspan::kernels::numerics
