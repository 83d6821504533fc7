#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/cache_layout.h"

// The memory of attention: blocks of 256 tokens that block tables name (docs/decisions/0006), and
// per sequence the rings of its newest tokens. Who owns which block is the planner's affair; here
// are only bytes. The same block number means the same tokens on every rank.
namespace sparkspan::engine::cache {

// A rank's KV blocks, allocated once. Not thread-safe by itself: the executor's thread owns it.
class KvPool {
 public:
  // `blocks` blocks of layout.block_bytes, zeroed and resident. An error names the bytes that were
  // refused.
  static absl::StatusOr<std::unique_ptr<KvPool>> Create(const kernels::CacheLayout& layout,
                                                        std::int32_t blocks);

  std::int32_t blocks() const { return blocks_; }
  std::int64_t block_bytes() const { return block_bytes_; }
  std::byte* data() { return data_.get(); }

  // The bytes of one block, for saving and restoring; 0 <= block < blocks().
  std::span<std::byte> block(std::int32_t block);

  // Blocks that a sequence of so many tokens needs.
  static constexpr std::int32_t BlocksFor(std::int64_t tokens) {
    return static_cast<std::int32_t>((tokens + kernels::kKvBlockTokens - 1) /
                                     kernels::kKvBlockTokens);
  }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };

  KvPool(std::byte* data, std::int32_t blocks, std::int64_t block_bytes)
      : data_(data), blocks_(blocks), block_bytes_(block_bytes) {}

  std::unique_ptr<std::byte, Free> data_;
  std::int32_t blocks_;
  std::int64_t block_bytes_;
};

// One sequence's rings: layout.state_bytes, zeroed. Position-addressed, so the bytes are valid for
// any length up to the newest written row, back to `rewind_rows_max` rows before it.
class SequenceState {
 public:
  explicit SequenceState(const kernels::CacheLayout& layout);

  // All of it, for saving and restoring.
  std::span<std::byte> bytes() { return {data_.get(), static_cast<std::size_t>(size_)}; }

 private:
  std::unique_ptr<std::byte[]> data_;
  std::int64_t size_;
};

}  // namespace sparkspan::engine::cache
