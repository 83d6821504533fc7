#pragma once

#include <cstdint>

#include "kernels/attention/entry.h"
#include "kernels/indexer/index_score.h"

// Compressors pool the projections of 8 tokens (ratio 4: two overlapping halves) or of 128 (ratio
// 128) into one entry, per channel by a softmax over the tokens' gates:
//   C[c] = sum_t softmax_t(g_t[c]) k_t[c],   g_t = gate projection + ape[t mod ratio]
// Ratio 4, entry j: tokens 4j - 4 to 4j - 1 with channels [0, d), tokens 4j to 4j + 3 with channels
// [d, 2d); what would lie before the sequence has no weight. Then bf16, RMS norm, rotation at
// position ratio * j, and the stored form.
//
// Candidates come from the rows of this launch or, when older, from the sequence's ring of past
// projections (kernels/cache_layout.h), so a chunk may begin anywhere. Entries are made before the
// ring is written, because a long chunk overwrites what they read.
namespace sparkspan::kernels {

// Projections of this launch's rows and the rings of their sequences.
struct CompressorRows {
  // fp32 [rows, 2, width]: values, then gates without ape; width is d, or 2d for ratio 4.
  const float* projected;
  const float* ape;  // [ratio, width]
  const std::int32_t*
      positions;  // [rows], absolute; consecutive rows of a sequence are consecutive
  const std::int32_t* chunk_rows;  // [rows]: the first row of the same sequence in this launch
  const std::int32_t* sequences;   // [rows]: which ring
  float* rings;                    // of sequence 0: [slots, 2, width], gates with ape
  std::int64_t ring_stride;        // floats from a sequence's ring to the next
  int slots;                       // ring slots; slot = position mod slots
  int ratio;                       // 4 or 128
  int width;
};

struct CompressArguments {
  CompressorRows rows;
  // Entries to make: the row whose token completes each, and its slot among the pages.
  const std::int32_t* boundary_rows;  // [entries]
  const std::int32_t* slots;          // [entries]
  int entries;
  const std::uint16_t* gain;  // bf16 [d]
  RopeRows rope;              // [entries], at each entry's own position
  float epsilon;
  EntryPages pages;  // of attention entries (d = 512), or
  IndexPages index;  // of index keys (d = 128), by the kernel that is launched
};

// Writes the rows' projections to the rings, but for rows that a later row of the launch replaces.
struct RingWriteArguments {
  CompressorRows rows;
  int row_count;
};

int LaunchCompressEntries(const CompressArguments& arguments, void* stream);
int LaunchCompressKeys(const CompressArguments& arguments, void* stream);
int LaunchRingWrite(const RingWriteArguments& arguments, void* stream);
void EmulateCompressEntries(const CompressArguments& arguments);
void EmulateCompressKeys(const CompressArguments& arguments);
void EmulateRingWrite(const RingWriteArguments& arguments);

}  // namespace sparkspan::kernels
