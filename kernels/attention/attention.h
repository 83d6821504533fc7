#pragma once

#include <cstdint>

#include "kernels/attention/entry.h"

namespace sparkspan::kernels {

// q = q rsqrt(mean(q^2) + epsilon) for each head, with the square, mean, sum, root and product each
// rounded to bf16; then the last 64 dimensions rotated.
struct QueryArguments {
  std::uint16_t* q;  // bf16 [rows, heads, 512], in place
  RopeRows rope;
  float epsilon;
  int rows;
  int heads;
};

// kv = bf16(rms_norm(x) gain), rotated, quantised and stored.
struct EntryWriteArguments {
  const std::uint16_t* x;     // bf16 [rows, 512]
  const std::uint16_t* gain;  // bf16 [512]
  RopeRows rope;
  float epsilon;
  int rows;
  EntryPages pages;
  const std::int32_t* slots;  // [rows]; negative: not stored
};

// A block attends to a stretch of a row's list of entries, so many or a multiple of it: as few
// times this as leave no more than kSplitsMax stretches. The order of additions follows from the
// length of the list alone. A partial result is as many bytes as 112 entries, written and read
// back: lists of a long context are not cut finer than fills the chip.
constexpr int kSplitEntries = 64;
constexpr int kSplitsMax = 24;
constexpr int kHeadsPerBlock = 32;

// For each row and head: s_k = (q . k) / sqrt(512) over the row's list of entries (its window in
// order of position, then its compressed entries in order of index); weights exp(s_k - m) over
// their sum plus exp(sink - m); output = sum of weight k, with weights rounded to bf16 before the
// product as the tensor core takes them, last 64 dimensions rotated back, in bf16.
struct AttentionArguments {
  const std::uint16_t* q;  // bf16 [rows, heads, 512], prepared
  EntryPages window;
  const std::int32_t* window_slots;  // [rows, window_max]
  const std::int32_t* window_count;  // [rows]
  int window_max;
  EntryPages compressed;
  // [rows, compressed_max]: entry indices of the row's sequence, as top-k writes them.
  const std::int32_t* compressed_slots;
  const std::int32_t* page_table;  // [rows, pages_max]: the sequence's pages in order
  int pages_max;
  const std::int32_t* compressed_count;  // [rows]
  int compressed_max;
  const float* sink;  // [heads]
  RopeRows rope;
  int rows;
  int heads;

  // Scratch: [rows, splits, heads, 512] and [rows, splits, heads, 2] (largest s, sum).
  float* partial;
  float* partial_stats;
  std::uint16_t* out;  // bf16 [rows, heads, 512], out
};

// Entries of each stretch of a list but the last one's.
SIMT_HOST_DEVICE constexpr int SplitEntriesOf(int entries) {
  const int units = (entries + kSplitEntries - 1) / kSplitEntries;
  return (units + kSplitsMax - 1) / kSplitsMax * kSplitEntries;
}
constexpr int SplitsOf(const AttentionArguments& arguments) {
  const int units =
      (arguments.window_max + arguments.compressed_max + kSplitEntries - 1) / kSplitEntries;
  return units < kSplitsMax ? units : kSplitsMax;
}

int LaunchQuery(const QueryArguments& arguments, void* stream);
int LaunchEntryWrite(const EntryWriteArguments& arguments, void* stream);
int LaunchAttention(const AttentionArguments& arguments, void* stream);
void EmulateQuery(const QueryArguments& arguments);
void EmulateEntryWrite(const EntryWriteArguments& arguments);
void EmulateAttention(const AttentionArguments& arguments);

}  // namespace sparkspan::kernels
