#include "engine/cache/kv_pool.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sparkspan::engine::cache {
namespace {

kernels::CacheLayout Layout() {
  return kernels::MakeCacheLayout(
      {512, 64, 128, 128, {0, 4, 128}}, kernels::numerics::kQuantised, 6);
}

TEST(KvPool, CountsBlocksByTokens) {
  EXPECT_EQ(KvPool::BlocksFor(0), 0);
  EXPECT_EQ(KvPool::BlocksFor(1), 1);
  EXPECT_EQ(KvPool::BlocksFor(256), 1);
  EXPECT_EQ(KvPool::BlocksFor(257), 2);
  EXPECT_EQ(KvPool::BlocksFor(1048576), 4096);
}

TEST(KvPool, BlocksAreZeroedAndApart) {
  const kernels::CacheLayout layout = Layout();
  auto pool = KvPool::Create(layout, 3).value();
  EXPECT_EQ(pool->blocks(), 3);
  std::ranges::fill(pool->block(1), std::byte{7});
  for (const int block : {0, 2}) {
    EXPECT_EQ(static_cast<std::int64_t>(pool->block(block).size()), layout.block_bytes);
    EXPECT_TRUE(
        std::ranges::all_of(pool->block(block), [](std::byte b) { return b == std::byte{0}; }));
  }
  EXPECT_EQ(pool->block(1).data(), pool->data() + layout.block_bytes);
}

TEST(KvPool, RefusesWhatCannotBe) {
  EXPECT_FALSE(KvPool::Create(Layout(), -1).ok());
  EXPECT_TRUE(KvPool::Create(Layout(), 0).ok());
}

TEST(SequenceState, HasTheLayoutsSizeAndIsZeroed) {
  const kernels::CacheLayout layout = Layout();
  SequenceState state(layout);
  EXPECT_EQ(static_cast<std::int64_t>(state.bytes().size()), layout.state_bytes);
  EXPECT_TRUE(std::ranges::all_of(state.bytes(), [](std::byte b) { return b == std::byte{0}; }));
}

}  // namespace
}  // namespace sparkspan::engine::cache
