#pragma once

#include "kernels/attention/attention.h"
#include "kernels/attention/latent.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

// What happens to queries and to new window entries before attention.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

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
