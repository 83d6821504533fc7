#pragma once

#include "kernels/norm/rms_norm.h"
#include "kernels/norm/row.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

// One block a row.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

// Limits: 32 registers.
SIMT_KERNEL(kRowThreads) rms_norm(RmsNormArguments arguments) {
  auto& shared = simt::shared<RowShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  normalize_stored_row(arguments, simt::block_index(), shared.partial);
}

// One warp a group of 128.
// Limits: 24 registers.
SIMT_KERNEL(kRowThreads) quantize(QuantizeArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const std::int64_t groups =
      static_cast<std::int64_t>(arguments.rows) * (arguments.width / kGroupColumns);
  const std::int64_t group =
      static_cast<std::int64_t>(simt::block_index()) * kRowWarps + simt::warp_index();
  if (group < groups) {
    quantize_stored_group(arguments, group);
  }
}

inline int run_rms_norm(const RmsNormArguments& arguments, void* stream) {
  const GridShape grid{.blocks = {arguments.rows, 1, 1}, .threads = kRowThreads, .dependent = true};
  return simt::launch<RowShared>(grid, stream, rms_norm, arguments);
}

inline int run_quantize(const QuantizeArguments& arguments, void* stream) {
  const int groups = arguments.rows * (arguments.width / kGroupColumns);
  const GridShape grid{.blocks = {(groups + kRowWarps - 1) / kRowWarps, 1, 1},
                       .threads = kRowThreads,
                       .dependent = true};
  return simt::launch<simt::NoShared>(grid, stream, quantize, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
