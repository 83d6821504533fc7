#pragma once

#include <cstdint>

namespace sparkspan::kernels {

// y = bf16(x * rsqrt(mean(x^2) + epsilon) * gain), computed in fp32 and rounded once; and, for the
// FP8 and FP4 products that follow, y in e4m3 with a UE8M0 scale per 128 columns: the smallest
// power of two that brings the group's largest magnitude (at least 1e-4) to 448 or below.
struct RmsNormArguments {
  const std::uint16_t* x;     // bf16 [rows, width]
  const std::uint16_t* gain;  // bf16 [width]
  float epsilon;
  int rows;
  int width;  // a multiple of 128

  std::uint16_t* normalized;  // bf16 [rows, width]
  std::uint8_t* quantized;    // e4m3 [rows, width], or null
  std::uint8_t* scale;        // UE8M0 [rows, width / 128], null with quantized
};

int LaunchRmsNorm(const RmsNormArguments& arguments, void* stream);
void EmulateRmsNorm(const RmsNormArguments& arguments);

// The quantisation alone: of products that no norm follows.
struct QuantizeArguments {
  const std::uint16_t* x;  // bf16 [rows, width]
  int rows;
  int width;  // a multiple of 128
  std::uint8_t* quantized;
  std::uint8_t* scale;
};

int LaunchQuantize(const QuantizeArguments& arguments, void* stream);
void EmulateQuantize(const QuantizeArguments& arguments);

}  // namespace sparkspan::kernels
