#pragma once

#include "kernels/simt/words.h"

// Which matrix element each lane's registers hold in a warp-wide product D = A B + C, from the
// PTX manual's figures for mma. Written once: the emulator multiplies by these functions, kernels
// address memory by them, and docs/formats/prepared_weights.md defines the stored layout with them.
//
// Element i of a fragment counts from the low bits of its first register.
namespace sparkspan::kernels {

struct Cell {
  int row;
  int column;
};

// C and D of every shape used here: 16 x 8 fp32, four to a lane.
struct Accumulator16x8 {
  static constexpr int kElements = 4;
  SIMT_HOST_DEVICE static constexpr Cell At(int lane, int i) {
    return {lane / 4 + 8 * (i / 2), lane % 4 * 2 + i % 2};
  }
};

// m16n8k16, 16-bit elements: A is 16 x 16 in four registers, B is 16 x 8 in two.
struct A16x16Bits16 {
  static constexpr int kElements = 8;
  SIMT_HOST_DEVICE static constexpr Cell At(int lane, int i) {
    return {lane / 4 + 8 * (i / 2 % 2), lane % 4 * 2 + i % 2 + 8 * (i / 4)};
  }
};
struct B16x8Bits16 {
  static constexpr int kElements = 4;
  SIMT_HOST_DEVICE static constexpr Cell At(int lane, int i) {
    return {lane % 4 * 2 + i % 2 + 8 * (i / 2), lane / 4};
  }
};

// m16n8k32, 8-bit elements: A is 16 x 32 in four registers, B is 32 x 8 in two.
struct A16x32Bits8 {
  static constexpr int kElements = 16;
  SIMT_HOST_DEVICE static constexpr Cell At(int lane, int i) {
    return {lane / 4 + 8 * (i / 4 % 2), lane % 4 * 4 + i % 4 + 16 * (i / 8)};
  }
};
struct B32x8Bits8 {
  static constexpr int kElements = 8;
  SIMT_HOST_DEVICE static constexpr Cell At(int lane, int i) {
    return {lane % 4 * 4 + i % 4 + 16 * (i / 4), lane / 4};
  }
};

// The lane whose register holds the UE8M0 scale of a row of A, or of a column of B, when the
// instruction's byte and thread selectors are zero.
SIMT_HOST_DEVICE constexpr int ScaleLaneOfRow(int row) {
  return row % 8 * 4 + row / 8;
}
SIMT_HOST_DEVICE constexpr int ScaleLaneOfColumn(int column) {
  return column * 4;
}

}  // namespace sparkspan::kernels
