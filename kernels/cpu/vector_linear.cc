#include "kernels/cpu/vector_targets.h"  // first: chooses what highway.h compiles for
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/vector_linear.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

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
        DecodeE2m1(row + k / 2, &first, &second);
        Scale(&first, scale);
        Scale(&second, scale);
        StoreSixteen(first, out);
        StoreSixteen(second, out + 16);
      }
      return;
    }
  }
}

const float* InputRow(const LinearTask& task, int r) {
  const std::int64_t row = task.x_index == nullptr ? r : task.x_index[r];
  return task.x + row * task.x_stride;
}

// kRows neighbouring weight rows times one input row, decoded in registers.
template <int kRows>
void SingleE4m3(const LinearTask& task, std::int64_t n) {
  const StoredWeight& weight = task.weight;
  const FloatTag d;
  const float* x = InputRow(task, 0);
  Sixteen sums[kRows];
  const std::uint8_t* rows[kRows];
  const std::uint8_t* scales[kRows];
  for (int i = 0; i < kRows; ++i) {
    sums[i] = ZeroSixteen();
    rows[i] = WeightRow(weight, n + i);
    scales[i] = ScaleRow(weight, n + i);
  }
  for (std::int64_t k = 0; k < weight.columns;) {
    const std::int64_t block = (weight.column_offset + k) / kScaleBlock;
    const std::int64_t end =
        std::min(weight.columns, (block + 1) * kScaleBlock - weight.column_offset);
    FloatVector scale[kRows];
    for (int i = 0; i < kRows; ++i) {
      scale[i] = hn::Set(d, numerics::FloatOfUe8m0(scales[i][block]) * kE4m3Factor);
    }
    for (; k < end; k += 16) {
      const Sixteen input = LoadSixteen(x + k);
      for (int i = 0; i < kRows; ++i) {
        Sixteen value = DecodeE4m3Sixteen(rows[i] + k);
        Scale(&value, scale[i]);
        MultiplyAdd(value, input, &sums[i]);
      }
    }
  }
  for (int i = 0; i < kRows; ++i) {
    task.y[n + i] = ReduceSixteen(sums[i]);
  }
}

template <int kRows>
void SingleE2m1(const LinearTask& task, std::int64_t n) {
  const StoredWeight& weight = task.weight;
  const FloatTag d;
  const float* x = InputRow(task, 0);
  Sixteen sums[kRows];
  const std::uint8_t* rows[kRows];
  const std::uint8_t* scales[kRows];
  for (int i = 0; i < kRows; ++i) {
    sums[i] = ZeroSixteen();
    rows[i] = WeightRow(weight, n + i);
    scales[i] = weight.scales + (n + i) * weight.scale_columns;
  }
  for (std::int64_t k = 0; k < weight.columns; k += 32) {
    const Sixteen low = LoadSixteen(x + k);
    const Sixteen high = LoadSixteen(x + k + 16);
    for (int i = 0; i < kRows; ++i) {
      const FloatVector scale =
          hn::Set(d, numerics::FloatOfUe8m0(scales[i][k / kNibbleScaleGroup]));
      Sixteen first;
      Sixteen second;
      DecodeE2m1(rows[i] + k / 2, &first, &second);
      Scale(&first, scale);
      Scale(&second, scale);
      MultiplyAdd(first, low, &sums[i]);
      MultiplyAdd(second, high, &sums[i]);
    }
  }
  for (int i = 0; i < kRows; ++i) {
    task.y[n + i] = ReduceSixteen(sums[i]);
  }
}

template <int kRows, bool kFloat>
void SinglePlain(const LinearTask& task, std::int64_t n) {
  const StoredWeight& weight = task.weight;
  const float* x = InputRow(task, 0);
  Sixteen sums[kRows];
  for (int i = 0; i < kRows; ++i) {
    sums[i] = ZeroSixteen();
  }
  for (std::int64_t k = 0; k < weight.columns; k += 16) {
    const Sixteen input = LoadSixteen(x + k);
    for (int i = 0; i < kRows; ++i) {
      const std::byte* at = weight.data + (n + i) * weight.row_bytes() + k * (kFloat ? 4 : 2);
      const Sixteen value =
          kFloat ? LoadSixteen(reinterpret_cast<const float*>(at)) : DecodeBf16Sixteen(at);
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

void MultiplyBlock(const float* const* w,
                   int count,
                   const float* const* x,
                   int rows,
                   std::size_t columns,
                   float* sums) {
  constexpr int kSumsInt = static_cast<int>(kSums);
  // Weight rows in pairs; the sums of a pair and of three input rows fit the registers.
  for (int i = 0; i < count; i += 2) {
    const bool pair = i + 1 < count;
    float* at = sums + i * rows * kSumsInt;
    for (int r = 0; r < rows;) {
      const int left = rows - r;
      if (pair && left >= 3) {
        DotTile<2, 3>(w + i, x + r, columns, at);
        r += 3;
        at += 6 * kSumsInt;
      } else if (pair) {
        DotTile<2, 1>(w + i, x + r, columns, at);
        r += 1;
        at += 2 * kSumsInt;
      } else {
        DotTile<1, 1>(w + i, x + r, columns, at);
        r += 1;
        at += kSumsInt;
      }
    }
  }
}

void WriteBlock(
    const float* sums, int count, int rows, int first_row, std::int64_t n, const LinearTask& task) {
  constexpr int kSumsInt = static_cast<int>(kSums);
  const auto write = [&](int i, int r, const float* at) {
    task.y[(first_row + r) * task.y_stride + n + i] = ReduceSixteen(at);
  };
  for (int i = 0; i < count; i += 2) {
    const int pair = i + 1 < count ? 2 : 1;
    const float* at = sums + i * rows * kSumsInt;
    for (int r = 0; r < rows;) {
      const int taken = pair == 2 && rows - r >= 3 ? 3 : 1;
      for (int a = 0; a < pair; ++a) {
        for (int b = 0; b < taken; ++b, at += kSumsInt) {
          write(i + a, r + b, at);
        }
      }
      r += taken;
    }
  }
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

void Linear(const LinearTask& task, std::int64_t first, std::int64_t end) {
  Block block;
  for (std::int64_t n = first; n < end; n += kWeightTileRows) {
    const int count = static_cast<int>(std::min(kWeightTileRows, end - n));
    if (task.rows > 1) {
      Several(task, n, count, &block);
    } else if (count == kWeightTileRows) {
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

const char* VectorTargetName() {
  return VectorTarget() == 0 ? "none" : hwy::TargetName(VectorTarget());
}

}  // namespace sparkspan::kernels::cpu
#endif
