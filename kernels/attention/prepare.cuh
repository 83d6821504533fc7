#pragma once

#include "kernels/attention/attention.h"
#include "kernels/attention/latent.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

// What happens to queries and to new window entries before attention.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

// The block normalises and rotates one head of a row, counted over all rows.
SIMT_DEVICE void prepare_query(const QueryArguments& arguments,
                               int vector,
                               simt::SharedArray<float, kLatentWarps>& partial) {
  const int row = vector / arguments.heads;
  std::uint16_t* q =
      arguments.q + static_cast<std::int64_t>(vector) * kHeadDim + latent_dimension();
  Pair value = load_pair_bf16(q);
  // The published reference does this as a chain of bf16 operations.
  const float squares = simt::block_sum(
      simt::round_to_bf16(value.low * value.low) + simt::round_to_bf16(value.high * value.high),
      partial);
  const float mean = simt::round_to_bf16(simt::divide(squares, static_cast<float>(kHeadDim)));
  const float scale =
      simt::round_to_bf16(simt::rsqrt(simt::round_to_bf16(mean + arguments.epsilon)));
  value = round_pair({value.low * scale, value.high * scale});
  if (simt::warp_index() == kRopeWarp) {
    const float* rope = arguments.rope + static_cast<std::int64_t>(row) * kRopeDim;
    const int pair = simt::lane_index();
    value = rotate(value, rope[pair], rope[kRopePairs + pair]);
  }
  simt::store_vector<1>(q, Words<1>{{simt::pack_bf16(value.low, value.high)}});
}

// The block stores one row's window entry.
SIMT_DEVICE void write_entry(const EntryWriteArguments& arguments,
                             int row,
                             simt::SharedArray<float, kLatentWarps>& partial) {
  const int slot = arguments.slots[row];
  if (slot < 0) {
    return;
  }
  const Pair x =
      load_pair_bf16(arguments.x + static_cast<std::int64_t>(row) * kHeadDim + latent_dimension());
  const Pair normalized = normalize_latent(x, arguments.gain, arguments.epsilon, partial);
  store_entry(normalized,
              arguments.rope + static_cast<std::int64_t>(row) * kRopeDim,
              arguments.pages,
              slot);
}

// One block a head of a row.
// Limits: 32 registers.
SIMT_KERNEL(kLatentThreads) query(QueryArguments arguments) {
  auto& shared = simt::shared<LatentShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  prepare_query(arguments, simt::block_index(), shared.partial);
}

// One block a row.
// Limits: 32 registers.
SIMT_KERNEL(kLatentThreads) entry_write(EntryWriteArguments arguments) {
  auto& shared = simt::shared<LatentShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  write_entry(arguments, simt::block_index(), shared.partial);
}

inline int run_query(const QueryArguments& arguments, void* stream) {
  const GridShape grid{.blocks = {arguments.rows * arguments.heads, 1, 1},
                       .threads = kLatentThreads,
                       .dependent = true};
  return simt::launch<LatentShared>(grid, stream, query, arguments);
}
inline int run_entry_write(const EntryWriteArguments& arguments, void* stream) {
  const GridShape grid{
      .blocks = {arguments.rows, 1, 1}, .threads = kLatentThreads, .dependent = true};
  return simt::launch<LatentShared>(grid, stream, entry_write, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
