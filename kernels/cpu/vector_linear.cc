#include "kernels/cpu/vector_targets.h"  // first: chooses what highway.h compiles for
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/vector_linear.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/vector_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace sparkspan::kernels::cpu {
namespace HWY_NAMESPACE {

// Columns that are decoded into the first-level cache at a time when several rows share them, and
// rows whose partial sums are kept meanwhile.
constexpr std::int64_t kDecodedColumns = 512;
constexpr int kRowBlock = 48;

const std::uint8_t* WeightRow(const StoredWeight& weight, std::int64_t n) {
  return reinterpret_cast<const std::uint8_t*>(weight.data) + n * weight.row_bytes();
}

const std::uint8_t* ScaleRow(const StoredWeight& weight, std::int64_t n) {
  return weight.scales + (weight.row_offset + n) / kScaleBlock * weight.scale_columns;
}

// Decoded, scaled weights of row n, columns [begin, end), both multiples of 32.
void DecodeColumns(
    const StoredWeight& weight, std::int64_t n, std::int64_t begin, std::int64_t end, float* out) {
  const std::uint8_t* row = WeightRow(weight, n);
  const FloatTag d;
  switch (weight.format) {
    case StoredFormat::kF32:
      std::memcpy(out, row + begin * 4, static_cast<std::size_t>(end - begin) * 4);
      return;
    case StoredFormat::kBf16:
      for (std::int64_t k = begin; k < end; k += 16, out += 16) {
        StoreSixteen(DecodeBf16Sixteen(reinterpret_cast<const std::byte*>(row + k * 2)), out);
      }
      return;
    case StoredFormat::kE4m3: {
      const std::uint8_t* scales = ScaleRow(weight, n);
      for (std::int64_t k = begin; k < end; k += 16, out += 16) {
        const std::uint8_t code = scales[(weight.column_offset + k) / kScaleBlock];
        Sixteen value = DecodeE4m3Sixteen(row + k);
        Scale(&value, hn::Set(d, numerics::FloatOfUe8m0(code) * kE4m3Factor));
        StoreSixteen(value, out);
      }
      return;
    }
    case StoredFormat::kE2m1: {
      const std::uint8_t* scales = weight.scales + n * weight.scale_columns;
      for (std::int64_t k = begin; k < end; k += 32, out += 32) {
        const FloatVector scale = hn::Set(d, numerics::FloatOfUe8m0(scales[k / kNibbleScaleGroup]));
        Sixteen first;
        Sixteen second;
        DecodeE2m1(row + k / 2, scale, &first, &second);
        StoreSixteen(first, out);
        StoreSixteen(second, out + 16);
      }
      return;
    }
  }
}

// Asks for the bytes that the next tile of the same weight starts its work on at this place: rows
// are too short for the processor to guess, and a fetch past the end does nothing.
template <int kRows>
HWY_INLINE void PrefetchNextTile(const std::uint8_t* const* rows,
                                 std::int64_t row_bytes,
                                 std::int64_t byte) {
  for (int i = 0; i < kRows; ++i) {
    hwy::Prefetch(rows[i] + kRows * row_bytes + byte);
  }
}

const float* InputRow(const LinearTask& task, int r) {
  const std::int64_t row = task.x_index == nullptr ? r : task.x_index[r];
  return task.x + row * task.x_stride;
}

// kRows neighbouring weight rows, all under the same row of scale blocks, times one input row,
// decoded in registers. The input is scaled instead of the weights: a power of two leaves every
// product the same.
template <int kRows>
void SingleE4m3(const LinearTask& task, std::int64_t n) {
  const StoredWeight& weight = task.weight;
  const FloatTag d;
  const float* x = InputRow(task, 0);
  const std::uint8_t* scales = ScaleRow(weight, n);
  Sixteen sums[kRows];
  const std::uint8_t* rows[kRows];
  for (int i = 0; i < kRows; ++i) {
    sums[i] = ZeroSixteen();
    rows[i] = WeightRow(weight, n + i);
  }
  for (std::int64_t k = 0; k < weight.columns;) {
    const std::int64_t block = (weight.column_offset + k) / kScaleBlock;
    const std::int64_t end =
        std::min(weight.columns, (block + 1) * kScaleBlock - weight.column_offset);
    const FloatVector scale = hn::Set(d, numerics::FloatOfUe8m0(scales[block]) * kE4m3Factor);
    PrefetchNextTile<kRows>(rows, weight.columns, k);
    PrefetchNextTile<kRows>(rows, weight.columns, k + 64);
    for (; k < end; k += 16) {
      Sixteen input = LoadSixteen(x + k);
      Scale(&input, scale);
      for (int i = 0; i < kRows; ++i) {
        MultiplyAdd(DecodeE4m3Sixteen(rows[i] + k), input, &sums[i]);
      }
    }
  }
  for (int i = 0; i < kRows; ++i) {
    task.y[n + i] = ReduceSixteen(sums[i]);
  }
}

// Columns whose scales are decoded at a time.
constexpr std::int64_t kScaledColumns = 4096;

template <int kRows>
void SingleE2m1(const LinearTask& task, std::int64_t n) {
  const StoredWeight& weight = task.weight;
  const FloatTag d;
  const float* x = InputRow(task, 0);
  float scales[kRows][kScaledColumns / kNibbleScaleGroup];
  Sixteen sums[kRows];
  const std::uint8_t* rows[kRows];
  for (int i = 0; i < kRows; ++i) {
    sums[i] = ZeroSixteen();
    rows[i] = WeightRow(weight, n + i);
  }
  for (std::int64_t begin = 0; begin < weight.columns; begin += kScaledColumns) {
    const std::int64_t end = std::min(weight.columns, begin + kScaledColumns);
    for (int i = 0; i < kRows; ++i) {
      const std::uint8_t* codes =
          weight.scales + (n + i) * weight.scale_columns + begin / kNibbleScaleGroup;
      for (std::int64_t g = 0; g < (end - begin) / kNibbleScaleGroup; ++g) {
        // 2^-127 has no normal form; every other code is an exponent.
        const std::uint32_t bits = codes[g] == 0 ? 0x00400000u : std::uint32_t{codes[g]} << 23;
        scales[i][g] = numerics::FloatOfBits(bits);
      }
    }
    for (std::int64_t k = begin; k < end; k += 32) {
      if (k % 128 == 0) {
        PrefetchNextTile<kRows>(rows, weight.columns / 2, k / 2);
      }
      const Sixteen low = LoadSixteen(x + k);
      const Sixteen high = LoadSixteen(x + k + 16);
      for (int i = 0; i < kRows; ++i) {
        Sixteen first;
        Sixteen second;
        DecodeE2m1(rows[i] + k / 2,
                   hn::Set(d, scales[i][(k - begin) / kNibbleScaleGroup]),
                   &first,
                   &second);
        MultiplyAdd(first, low, &sums[i]);
        MultiplyAdd(second, high, &sums[i]);
      }
    }
  }
  for (int i = 0; i < kRows; ++i) {
    task.y[n + i] = ReduceSixteen(sums[i]);
  }
}

template <int kRows, bool kFloat>
void SinglePlain(const LinearTask& task, std::int64_t n) {
  constexpr std::int64_t kBytes = kFloat ? 4 : 2;
  const StoredWeight& weight = task.weight;
  const float* x = InputRow(task, 0);
  Sixteen sums[kRows];
  const std::uint8_t* rows[kRows];
  for (int i = 0; i < kRows; ++i) {
    sums[i] = ZeroSixteen();
    rows[i] = WeightRow(weight, n + i);
  }
  for (std::int64_t k = 0; k < weight.columns; k += 16) {
    if (k * kBytes % 64 == 0) {
      PrefetchNextTile<kRows>(rows, weight.columns * kBytes, k * kBytes);
    }
    const Sixteen input = LoadSixteen(x + k);
    for (int i = 0; i < kRows; ++i) {
      const std::uint8_t* at = rows[i] + k * kBytes;
      const Sixteen value = kFloat ? LoadSixteen(reinterpret_cast<const float*>(at))
                                   : DecodeBf16Sixteen(reinterpret_cast<const std::byte*>(at));
      MultiplyAdd(value, input, &sums[i]);
    }
  }
  for (int i = 0; i < kRows; ++i) {
    task.y[n + i] = ReduceSixteen(sums[i]);
  }
}

template <int kRows>
void Single(const LinearTask& task, std::int64_t n) {
  switch (task.weight.format) {
    case StoredFormat::kF32:
      return SinglePlain<kRows, true>(task, n);
    case StoredFormat::kBf16:
      return SinglePlain<kRows, false>(task, n);
    case StoredFormat::kE4m3:
      return SingleE4m3<kRows>(task, n);
    case StoredFormat::kE2m1:
      return SingleE2m1<kRows>(task, n);
  }
}

// `count` weight rows (1 to 4) times a block of input rows: decoded once, each into its own sums
// in the same order as Single takes them.
struct Block {
  float decoded[kWeightTileRows][kDecodedColumns];
  float sums[kRowBlock * kWeightTileRows * kSums];
};

// Weight and input rows whose sums fit the registers: 12 vectors of 16 registers, or of 32.
constexpr int kTileW = kVectorLanes == 16 ? 4 : 2;
constexpr int kTileX = 3;

// Calls visit(weight row, weight rows, input row, input rows, sums) for the tiles of a block; the
// sums of a tile lie together.
template <class Visit>
HWY_INLINE void ForTiles(int count, int rows, float* sums, const Visit& visit) {
  constexpr int kSumsInt = static_cast<int>(kSums);
  for (int i = 0; i < count;) {
    const int w = count - i >= kTileW ? kTileW : 1;
    for (int r = 0; r < rows;) {
      const int x = rows - r >= kTileX ? kTileX : 1;
      visit(i, w, r, x, sums);
      sums += w * x * kSumsInt;
      r += x;
    }
    i += w;
  }
}

void MultiplyBlock(const float* const* w,
                   int count,
                   const float* const* x,
                   int rows,
                   std::size_t columns,
                   float* sums) {
  ForTiles(count, rows, sums, [&](int i, int ws, int r, int xs, float* at) HWY_ATTR {
    if (ws == kTileW && xs == kTileX) {
      DotTile<kTileW, kTileX>(w + i, x + r, columns, at);
    } else if (ws == kTileW) {
      DotTile<kTileW, 1>(w + i, x + r, columns, at);
    } else if (xs == kTileX) {
      DotTile<1, kTileX>(w + i, x + r, columns, at);
    } else {
      DotTile<1, 1>(w + i, x + r, columns, at);
    }
  });
}

void WriteBlock(
    float* sums, int count, int rows, int first_row, std::int64_t n, const LinearTask& task) {
  ForTiles(count, rows, sums, [&](int i, int ws, int r, int xs, const float* at) HWY_ATTR {
    for (int a = 0; a < ws; ++a) {
      for (int b = 0; b < xs; ++b, at += kSums) {
        task.y[(first_row + r + b) * task.y_stride + n + i + a] = ReduceSixteen(at);
      }
    }
  });
}

void Several(const LinearTask& task, std::int64_t n, int count, Block* block) {
  const StoredWeight& weight = task.weight;
  const bool plain = weight.format == StoredFormat::kF32;
  for (int first = 0; first < task.rows; first += kRowBlock) {
    const int rows = std::min(kRowBlock, task.rows - first);
    std::memset(block->sums, 0, sizeof(float) * kSums * static_cast<std::size_t>(rows * count));
    for (std::int64_t k = 0; k < weight.columns; k += kDecodedColumns) {
      const std::int64_t end = std::min(weight.columns, k + kDecodedColumns);
      const float* w[kWeightTileRows];
      for (int i = 0; i < count; ++i) {
        if (plain) {
          w[i] = reinterpret_cast<const float*>(WeightRow(weight, n + i)) + k;
        } else {
          DecodeColumns(weight, n + i, k, end, block->decoded[i]);
          w[i] = block->decoded[i];
        }
      }
      const float* x[kRowBlock];
      for (int r = 0; r < rows; ++r) {
        x[r] = InputRow(task, first + r) + k;
      }
      MultiplyBlock(w, count, x, rows, static_cast<std::size_t>(end - k), block->sums);
    }
    WriteBlock(block->sums, count, rows, first, n, task);
  }
}

// Whether the tile that starts at row n lies under one row of scale blocks.
bool SameScales(const StoredWeight& weight, std::int64_t n) {
  return weight.format != StoredFormat::kE4m3 ||
         ScaleRow(weight, n) == ScaleRow(weight, n + kWeightTileRows - 1);
}

void Linear(const LinearTask& task, std::int64_t first, std::int64_t end) {
  Block block;
  for (std::int64_t n = first; n < end; n += kWeightTileRows) {
    const int count = static_cast<int>(std::min(kWeightTileRows, end - n));
    if (task.rows > 1) {
      Several(task, n, count, &block);
    } else if (count == kWeightTileRows && SameScales(task.weight, n)) {
      Single<kWeightTileRows>(task, n);
    } else {
      for (int i = 0; i < count; ++i) {
        Single<1>(task, n + i);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sparkspan::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sparkspan::kernels::cpu {

HWY_EXPORT(Linear);

void VectorLinear(const LinearTask& task, std::int64_t first, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(Linear)(task, first, end);
}

std::int64_t VectorTarget() {
  const std::int64_t usable = hwy::SupportedTargets() & HWY_TARGETS & ~HWY_EMU128;
  return usable & -usable;  // The best target is the lowest bit.
}

std::vector<std::int64_t> VectorTargets() {
  std::vector<std::int64_t> targets;
  for (std::int64_t left = hwy::SupportedTargets() & HWY_TARGETS & ~HWY_EMU128; left != 0;
       left &= left - 1) {
    targets.push_back(left & -left);
  }
  return targets;
}

void ForceVectorTarget(std::int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

const char* VectorTargetName() {
  return VectorTarget() == 0 ? "none" : hwy::TargetName(VectorTarget());
}

}  // namespace sparkspan::kernels::cpu
#endif
