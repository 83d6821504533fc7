#include "kernels/cache_layout.h"

namespace sparkspan::kernels {
namespace {

constexpr int kEntryScaleGroup = 64;
constexpr int kKeyScaleGroup = 32;
constexpr std::int64_t kAlignment = 64;

std::int64_t Align(std::int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

CompressorRing MakeRing(int ratio, int dim, int rewind_rows_max, std::int64_t* state_bytes) {
  const int overlap = ratio == kOverlapRatio ? 2 : 1;
  CompressorRing ring;
  ring.offset = *state_bytes;
  ring.slots = overlap * ratio + rewind_rows_max;
  ring.width = overlap * dim;
  *state_bytes = Align(*state_bytes + ring.slots * ring.slot_bytes());
  return ring;
}

}  // namespace

int EntryBytes(const numerics::NumericsProfile& profile, int head_dim, int rope_dim) {
  if (profile.cache == numerics::CacheFormat::kF32) {
    return head_dim * 4;
  }
  const int codes = head_dim - rope_dim;
  const int scales = codes / kEntryScaleGroup;
  return (codes + scales + 7) / 8 * 8 + rope_dim * 2;
}

int KeyBytes(const numerics::NumericsProfile& profile, int index_dim) {
  if (profile.index == numerics::IndexFormat::kF32) {
    return index_dim * 4;
  }
  return index_dim / 2 + index_dim / kKeyScaleGroup;
}

CacheLayout MakeCacheLayout(const CacheShape& shape,
                            const numerics::NumericsProfile& profile,
                            int rewind_rows_max) {
  CacheLayout layout;
  layout.entry_bytes = EntryBytes(profile, shape.head_dim, shape.rope_dim);
  layout.key_bytes = KeyBytes(profile, shape.index_dim);
  layout.window_slots = shape.window + rewind_rows_max;
  for (const int ratio : shape.ratios) {
    LayerCacheLayout layer;
    layer.ratio = ratio;
    layer.window_offset = layout.state_bytes;
    layout.state_bytes =
        Align(layout.state_bytes + std::int64_t{layout.window_slots} * layout.entry_bytes);
    if (ratio != 0) {
      layer.entries_per_block = kKvBlockTokens / ratio;
      layer.entries_offset = layout.block_bytes;
      layout.block_bytes =
          Align(layout.block_bytes + std::int64_t{layer.entries_per_block} * layout.entry_bytes);
      layer.compressor = MakeRing(ratio, shape.head_dim, rewind_rows_max, &layout.state_bytes);
    }
    if (ratio == kOverlapRatio) {
      layer.keys_offset = layout.block_bytes;
      layout.block_bytes =
          Align(layout.block_bytes + std::int64_t{layer.entries_per_block} * layout.key_bytes);
      layer.index_compressor =
          MakeRing(ratio, shape.index_dim, rewind_rows_max, &layout.state_bytes);
    }
    layout.layers.push_back(layer);
  }
  return layout;
}

}  // namespace sparkspan::kernels
