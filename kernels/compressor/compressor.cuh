#pragma once

#include "kernels/compressor/pool.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kRingThreads = 256;
constexpr int kKeyWarps = 4;  // keys of a block, a warp each

// Limits: 40 registers.
SIMT_KERNEL(kLatentThreads) compress_entries(CompressArguments arguments) {
  auto& shared = simt::shared<LatentShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  make_entry(arguments, simt::block_index(), shared.partial);
}

// Limits: 56 registers.
SIMT_KERNEL(kKeyWarps * 32, 1) compress_keys(CompressArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int entry = simt::block_index() * kKeyWarps + simt::warp_index();
  if (entry < arguments.entries) {
    make_key(arguments, entry);
  }
}

// Limits: 40 registers.
SIMT_KERNEL(kRingThreads) ring_write(RingWriteArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  write_ring(arguments, simt::block_index());
}

inline int run_compress_entries(const CompressArguments& arguments, void* stream) {
  const GridShape grid{
      .blocks = {arguments.entries, 1, 1}, .threads = kLatentThreads, .dependent = true};
  return simt::launch<LatentShared>(grid, stream, compress_entries, arguments);
}
inline int run_compress_keys(const CompressArguments& arguments, void* stream) {
  const GridShape grid{.blocks = {(arguments.entries + kKeyWarps - 1) / kKeyWarps, 1, 1},
                       .threads = kKeyWarps * 32,
                       .dependent = true};
  return simt::launch<simt::NoShared>(grid, stream, compress_keys, arguments);
}
inline int run_ring_write(const RingWriteArguments& arguments, void* stream) {
  const GridShape grid{
      .blocks = {arguments.row_count, 1, 1}, .threads = kRingThreads, .dependent = true};
  return simt::launch<simt::NoShared>(grid, stream, ring_write, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
