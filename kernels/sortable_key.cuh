#pragma once

#include <cstdint>

#include "kernels/simt/simt.h"

// Floats as integers of the same order, for searches by digit.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

// Larger floats to larger integers; adding zero makes -0 the same key as +0. Never 0 for a number.
SIMT_DEVICE std::uint32_t sortable_key(float score) {
  const std::uint32_t bits = simt::bits_of(score + 0.0F);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
SIMT_DEVICE float score_of_key(std::uint32_t key) {
  return simt::float_of_bits((key & 0x80000000U) != 0 ? key & 0x7FFFFFFFU : ~key);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
