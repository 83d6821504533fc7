#include "kernels/cache_layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace sparkspan::kernels {
namespace {

const CacheShape kShape{512, 64, 128, 128, {0, 4, 128, 4}};

TEST(CacheLayout, BlocksHoldWhat256TokensLeave) {
  const CacheLayout layout = MakeCacheLayout(kShape, numerics::kQuantised, 0);
  EXPECT_EQ(layout.entry_bytes, 584);
  EXPECT_EQ(layout.key_bytes, 68);
  EXPECT_EQ(layout.layers[0].entries_per_block, 0);
  EXPECT_EQ(layout.layers[1].entries_per_block, 64);
  EXPECT_EQ(layout.layers[2].entries_per_block, 2);
  // Two CSA layers of 64 entries and keys, one HCA layer of 2 entries, each part in 64-byte units.
  EXPECT_EQ(layout.block_bytes, 2 * (64 * 584 + 64 * 68) + 1216);
  const CacheLayout plain = MakeCacheLayout(kShape, numerics::kUnquantised, 0);
  EXPECT_EQ(plain.entry_bytes, 2048);
  EXPECT_EQ(plain.key_bytes, 512);
  EXPECT_EQ(plain.block_bytes, 2 * (64 * 2048 + 64 * 512) + 2 * 2048);
}

TEST(CacheLayout, WindowOnlyModelsLeaveNothingInBlocks) {
  const CacheLayout layout = MakeCacheLayout({512, 64, 128, 128, {0, 0}}, numerics::kQuantised, 6);
  EXPECT_EQ(layout.block_bytes, 0);
  EXPECT_EQ(layout.window_slots, 134);
}

// Every part of block and state is aligned, inside, and disjoint from the others.
TEST(CacheLayout, PartsDoNotOverlap) {
  for (const int rewind : {0, 6}) {
    for (const auto& profile : {numerics::kUnquantised, numerics::kQuantised}) {
      const CacheLayout layout = MakeCacheLayout(kShape, profile, rewind);
      std::vector<std::pair<std::int64_t, std::int64_t>> block;
      std::vector<std::pair<std::int64_t, std::int64_t>> state;
      for (const LayerCacheLayout& layer : layout.layers) {
        state.emplace_back(layer.window_offset,
                           std::int64_t{layout.window_slots} * layout.entry_bytes);
        for (const CompressorRing& ring : {layer.compressor, layer.index_compressor}) {
          if (ring.slots > 0) {
            state.emplace_back(ring.offset, ring.slots * ring.slot_bytes());
          }
        }
        if (layer.ratio != 0) {
          block.emplace_back(layer.entries_offset,
                             std::int64_t{layer.entries_per_block} * layout.entry_bytes);
        }
        if (layer.ratio == kOverlapRatio) {
          EXPECT_EQ(layer.compressor.slots, 8 + rewind);
          EXPECT_EQ(layer.compressor.width, 1024);
          EXPECT_EQ(layer.index_compressor.width, 256);
          block.emplace_back(layer.keys_offset,
                             std::int64_t{layer.entries_per_block} * layout.key_bytes);
        } else if (layer.ratio == kDenseRatio) {
          EXPECT_EQ(layer.compressor.slots, 128 + rewind);
          EXPECT_EQ(layer.compressor.width, 512);
        }
      }
      for (auto [parts, total] :
           {std::pair{&block, layout.block_bytes}, std::pair{&state, layout.state_bytes}}) {
        std::sort(parts->begin(), parts->end());
        std::int64_t end = 0;
        for (const auto& [offset, bytes] : *parts) {
          EXPECT_EQ(offset % 64, 0);
          EXPECT_GE(offset, end);
          end = offset + bytes;
        }
        EXPECT_LE(end, total);
        EXPECT_LT(total - end, 64);
      }
    }
  }
}

}  // namespace
}  // namespace sparkspan::kernels
