#include "engine/cache/kv_pool.h"

#include <cstdlib>
#include <cstring>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"

namespace sparkspan::engine::cache {

void KvPool::Free::operator()(std::byte* data) const {
  std::free(data);
}

absl::StatusOr<std::unique_ptr<KvPool>> KvPool::Create(const kernels::CacheLayout& layout,
                                                       std::int32_t blocks) {
  if (blocks < 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("KV blocks is %d: must not be negative", blocks));
  }
  // A model of window layers only leaves nothing in blocks; one byte keeps the pointer valid.
  const std::size_t bytes =
      static_cast<std::size_t>(layout.block_bytes) * static_cast<std::size_t>(blocks);
  auto* data = static_cast<std::byte*>(std::malloc(bytes + 1));
  if (data == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("no memory for %d KV blocks of %d bytes: lower the number of blocks",
                        blocks,
                        layout.block_bytes));
  }
  // Touches every page: what is budgeted is taken now, not when a long prompt comes.
  std::memset(data, 0, bytes + 1);
  return std::unique_ptr<KvPool>(new KvPool(data, blocks, layout.block_bytes));
}

std::span<std::byte> KvPool::block(std::int32_t block) {
  CHECK_GE(block, 0);
  CHECK_LT(block, blocks_);
  return {data_.get() + block * block_bytes_, static_cast<std::size_t>(block_bytes_)};
}

SequenceState::SequenceState(const kernels::CacheLayout& layout)
    : data_(std::make_unique<std::byte[]>(static_cast<std::size_t>(layout.state_bytes))),
      size_(layout.state_bytes) {}

}  // namespace sparkspan::engine::cache
