#pragma once

#include <cstddef>
#include <cstdint>

namespace sparkspan::kernels {

enum class StoredFormat : std::uint8_t {
  kF32,
  kBf16,
  kE4m3,  // a byte an element; one ue8m0 scale per 128 x 128 block
  kE2m1,  // two elements a byte, the even column in the low nibble; one ue8m0 scale per row and 32
};

inline constexpr int kScaleBlock = 128;       // rows and columns under one scale of an e4m3 weight
inline constexpr int kNibbleScaleGroup = 32;  // columns under one scale of an e2m1 weight

// A weight W [rows, columns] as it lies in a checkpoint, or a rank's slice of one; y = W x. Does
// not own. Row-major without padding; no alignment is assumed. `columns` of a scaled weight is a
// multiple of 32.
struct StoredWeight {
  StoredFormat format = StoredFormat::kBf16;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  const std::byte* data = nullptr;
  // e4m3: [ceil((row_offset + rows) / 128), scale_columns]; e2m1: [rows, scale_columns]. Else null.
  const std::uint8_t* scales = nullptr;
  std::int64_t scale_columns = 0;
  // Where the slice starts inside the first 128 x 128 scale block, 0 to 127, e4m3 only; so that a
  // slice may begin and end inside a block.
  int row_offset = 0;
  int column_offset = 0;

  std::int64_t row_bytes() const {
    switch (format) {
      case StoredFormat::kF32:
        return columns * 4;
      case StoredFormat::kBf16:
        return columns * 2;
      case StoredFormat::kE4m3:
        return columns;
      case StoredFormat::kE2m1:
        return columns / 2;
    }
    return 0;
  }
  bool empty() const { return rows == 0 || columns == 0; }
};

}  // namespace sparkspan::kernels
