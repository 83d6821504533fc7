#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/numerics/profile.h"

// Where a sequence's attention state lies: byte offsets only, equal in memory and on disk.
//
// A KV block holds what 256 tokens leave for good, for all layers of a rank: per CSA layer (ratio
// 4) 64 compressed entries and their 64 index keys, per HCA layer (ratio 128) 2 compressed entries.
// A sequence's block table names its blocks in order of position.
//
// A sequence's state holds what only its newest tokens need: per layer the window of latent
// entries, and on compressed layers the projections that the next compressed entries pool. All are
// rings addressed by absolute position (slot = position mod slots), larger by `rewind_rows_max`
// than what a step reads, so that rows a verification rejects can simply be written again: nothing
// older was overwritten, and nothing in the state says how long the sequence is.
namespace sparkspan::kernels {

inline constexpr int kKvBlockTokens = 256;
inline constexpr int kOverlapRatio = 4;  // CSA: pools 8 tokens, with an indexer
inline constexpr int kDenseRatio = 128;  // HCA: pools 128 tokens, all entries attended

struct CacheShape {
  int head_dim = 0;
  int rope_dim = 0;
  int index_dim = 0;
  int window = 0;
  std::vector<int> ratios;  // per layer: 0, 4 or 128
};

// A ring of one compressor: a slot is fp32 [2, width], the projected values and then the gate
// values with their positional term added.
struct CompressorRing {
  std::int64_t offset = 0;  // in the sequence's state
  int slots = 0;            // 0: the layer has none
  int width = 0;            // head_dim or index_dim; twice that for ratio 4 (both halves)

  std::int64_t slot_bytes() const { return std::int64_t{8} * width; }
};

struct LayerCacheLayout {
  int ratio = 0;
  int entries_per_block = 0;
  std::int64_t entries_offset = 0;  // in a KV block: [entries_per_block, entry_bytes]
  std::int64_t keys_offset = 0;     // in a KV block: [entries_per_block, key_bytes], ratio 4 only
  std::int64_t window_offset = 0;   // in the state: [window_slots, entry_bytes]
  CompressorRing compressor;
  CompressorRing index_compressor;
};

struct CacheLayout {
  int entry_bytes = 0;  // a window or compressed entry
  int key_bytes = 0;    // an index key
  int window_slots = 0;
  std::int64_t block_bytes = 0;  // of one KV block, all layers
  std::int64_t state_bytes = 0;  // of one sequence's state
  std::vector<LayerCacheLayout> layers;
};

// Entry formats. fp32: the vector. e4m3: [head_dim - rope_dim] codes, then one ue8m0 scale per 64
// of them, zero padding to a multiple of 8, then [rope_dim] bf16. Index keys, e2m1: [index_dim / 2]
// bytes, the even element in the low nibble, then one ue8m0 scale per 32.
int EntryBytes(const numerics::NumericsProfile& profile, int head_dim, int rope_dim);
int KeyBytes(const numerics::NumericsProfile& profile, int index_dim);

// Every offset is a multiple of 64.
CacheLayout MakeCacheLayout(const CacheShape& shape,
                            const numerics::NumericsProfile& profile,
                            int rewind_rows_max);

}  // namespace sparkspan::kernels
