#pragma once

#include <cstdint>

// The indexer of compressed attention: which entries a query will attend to.
namespace sparkspan::kernels {

constexpr int kIndexDim = 128;
constexpr int kIndexGroup = 32;                            // dimensions that share a scale
constexpr int kIndexCodeBytes = kIndexDim / 2;             // e2m1, even dimension in the low nibble
constexpr int kIndexScaleBytes = kIndexDim / kIndexGroup;  // UE8M0

// Rotates the last 64 of 128 dimensions, applies the Hadamard matrix (natural order, divided by
// sqrt(128)), each rounded to bf16, then quantises groups of 32 to e2m1.
struct IndexQueryArguments {
  const std::uint16_t* q;  // bf16 [rows, heads, 128]
  const float* rope;       // [rows][cos, sin][32]
  int rows;
  int heads;
  std::uint8_t* codes;   // [rows, heads, 64], out
  std::uint8_t* scales;  // [rows, heads, 4], out
};

// Index keys as kernels/cache_layout.h has them: a page (a KV block) holds keys of 64 code bytes
// and 4 scales, one after the other, 4-byte aligned.
constexpr int kIndexKeyBytes = kIndexCodeBytes + kIndexScaleBytes;
struct IndexPages {
  std::uint8_t* base;        // the layer's keys in the first page
  std::int64_t page_stride;  // bytes, a multiple of 4
  int keys_per_page;         // a multiple of 8
};

constexpr int kIndexHeadsMax = 64;
// Two waves of the 96 blocks that GB10 holds.
constexpr int kIndexBlocksMax = 192;

// score_j = sum over heads of weight_h relu(q_h . k_j), for the first visible[row] keys of the
// row's sequence; the others are not written. fp32 throughout.
struct IndexScoreArguments {
  const std::uint8_t* codes;
  const std::uint8_t* scales;
  const float* weights;  // [rows, heads], as projected; weight_h = bf16(bf16(weights) weight_scale)
  float weight_scale;    // 1 / sqrt(dimension), times 1 / sqrt(heads of all ranks)
  int rows;
  int heads;  // at most kIndexHeadsMax
  IndexPages pages;
  const std::int32_t* page_table;  // [rows, pages_max]: the row's sequence's pages in order
  int pages_max;
  const std::int32_t* visible;  // [rows]
  float* scores;                // [rows, row_stride], out
  std::int64_t row_stride;
  // Blocks that rows share, each row at least one: where keys are more, a block scores more.
  int blocks_max = kIndexBlocksMax;
};

int LaunchIndexQuery(const IndexQueryArguments& arguments, void* stream);
int LaunchIndexScore(const IndexScoreArguments& arguments, void* stream);
void EmulateIndexQuery(const IndexQueryArguments& arguments);
void EmulateIndexScore(const IndexScoreArguments& arguments);

}  // namespace sparkspan::kernels
