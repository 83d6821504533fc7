#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/simt/words.h"

// How the product kernels store a weight W [n, k], version 1; docs/formats/prepared_weights.md.
//
// Weights are the 16-row operand of the tensor-core product. They are cut into tiles of 16 rows by
// 32 columns, and a tile holds what each lane feeds to the instruction, so that one aligned
// vector load per lane fetches it and no shuffling follows. Rows are padded to 16 with zeros; k is
// a multiple of 128.
//
// Inside a group of 32 columns the instruction's k order is permuted, the same for both operands:
// lane quarter q = lane % 4 owns columns 8q to 8q + 7. Activations therefore stay row-major, and a
// lane reads eight neighbouring elements of them.
namespace sparkspan::kernels {

constexpr std::uint32_t kPreparedWeightsVersion = 1;

enum class WeightFormat : std::uint8_t {
  kE4m3,  // one byte an element; UE8M0 scale per 128 x 128
  kE2m1,  // a nibble an element; UE8M0 scale per row and 32 columns
  kBf16,  // two bytes an element, no scales
};

constexpr int kTileRows = 16;
constexpr int kTileColumns = 32;
constexpr int kScaleColumns = 128;  // one activation scale covers so many columns

SIMT_HOST_DEVICE constexpr int TilesDown(int n) {
  return (n + kTileRows - 1) / kTileRows;
}

// Bytes that one lane loads of a tile: 16 for e4m3, 8 for e2m1, 32 for bf16.
SIMT_HOST_DEVICE constexpr int LaneBytes(WeightFormat format) {
  return format == WeightFormat::kE4m3 ? 16 : format == WeightFormat::kE2m1 ? 8 : 32;
}

// Where element (row, column) of a tile lies in the tile's bytes. For e2m1 the byte holds two rows:
// row r in the low nibble, row r + 8 in the high one.
SIMT_HOST_DEVICE constexpr int TileByteE4m3(int row, int column) {
  const int lane = row % 8 * 4 + column / 8;
  const int reg = column % 8 / 4 * 2 + row / 8;
  return lane * 16 + reg * 4 + column % 4;
}
SIMT_HOST_DEVICE constexpr int TileByteE2m1(int row, int column) {
  const int lane = row % 8 * 4 + column / 8;
  return lane * 8 + column % 8;
}
// bf16: two products of 16 columns a tile, stored one after the other.
SIMT_HOST_DEVICE constexpr int TileByteBf16(int row, int column) {
  const int lane = row % 8 * 4 + column / 8;
  const int step = column % 8 / 4;
  const int reg = column % 4 / 2 * 2 + row / 8;
  return step * 512 + lane * 16 + reg * 4 + column % 2 * 2;
}

// Bytes of the prepared elements and of the prepared scales of W [n, k].
constexpr std::size_t PreparedBytes(WeightFormat format, int n, int k) {
  return static_cast<std::size_t>(TilesDown(n)) * static_cast<std::size_t>(k / kTileColumns) * 32U *
         static_cast<std::size_t>(LaneBytes(format));
}
// e4m3: the checkpoint's own [ceil(n / 128), k / 128]. e2m1: [tiles down, k / 128, 16 rows, 4].
constexpr std::size_t PreparedScaleBytes(WeightFormat format, int n, int k) {
  const auto groups = static_cast<std::size_t>(k / kScaleColumns);
  return format == WeightFormat::kE4m3   ? static_cast<std::size_t>((n + 127) / 128) * groups
         : format == WeightFormat::kE2m1 ? static_cast<std::size_t>(TilesDown(n)) * groups * 64U
                                         : 0U;
}

// From the checkpoint's row-major tensors. Sizes are the caller's to have checked.
// e4m3 [n, k] bytes; bf16 [n, k]; e2m1 [n, k / 2] with the even column in the low nibble.
void PrepareE4m3(std::span<const std::uint8_t> weight, int n, int k, std::span<std::byte> prepared);
void PrepareBf16(std::span<const std::uint16_t> weight,
                 int n,
                 int k,
                 std::span<std::byte> prepared);
void PrepareE2m1(std::span<const std::uint8_t> weight, int n, int k, std::span<std::byte> prepared);
// scale [n, k / 32].
void PrepareE2m1Scales(std::span<const std::uint8_t> scale,
                       int n,
                       int k,
                       std::span<std::byte> prepared);

// A bf16 weight as e4m3 with a scale per 128 x 128, half its bytes: for a drafter's private copy of
// the head and of the Markov weight, whose rounding the target's verification makes good.
// scale [ceil(n / 128), k / 128].
void PrepareBf16AsE4m3(std::span<const std::uint16_t> weight,
                       int n,
                       int k,
                       std::span<std::byte> prepared,
                       std::span<std::uint8_t> scale);

}  // namespace sparkspan::kernels
