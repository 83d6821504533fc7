#pragma once

#include "kernels/moe/expert.cuh"
#include "kernels/moe/moe.h"
#include "kernels/norm/row.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

// One block a row.
// Limits: 48 registers.
SIMT_KERNEL(kRowThreads) combine(CombineArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index();
  const std::uint64_t order =
      ascending_choices(arguments.ids + row * arguments.choices, arguments.choices);
  for (int i : simt::block_stride(arguments.hidden)) {
    combine_column(arguments, order, row, i);
  }
}

// Limits: 248 registers; blocks per SM on sm_12x 4 <1>, 2 <2>, 1 <12>.
template <class Format, int kTiles>
SIMT_KERNEL(kExpertThreads)
gate_up(GateUpArguments arguments) {
  auto& shared = simt::shared<ExpertShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  gate_up_expert<Format, kTiles>(shared, arguments, simt::block_index_y());
}

// Limits: 128 registers; blocks per SM on sm_12x 4 <1>, 4 <2>, 2 <12>.
template <class Format, int kTiles>
SIMT_KERNEL(kExpertThreads)
down(DownArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  down_expert<Format, kTiles>(arguments, simt::block_index_y());
}

template <class Format>
int run_gate_up_format(const GateUpArguments& arguments, void* stream) {
  const GridShape grid = expert_grid(arguments, arguments.intermediate);
  if (arguments.rows <= 8) {
    return simt::launch<ExpertShared>(grid, stream, gate_up<Format, 1>, arguments);
  }
  if (arguments.rows <= 16) {
    return simt::launch<ExpertShared>(grid, stream, gate_up<Format, 2>, arguments);
  }
  return simt::launch<ExpertShared>(grid, stream, gate_up<Format, 12>, arguments);
}
template <class Format>
int run_down_format(const DownArguments& arguments, void* stream) {
  const GridShape grid = expert_grid(arguments, arguments.hidden);
  if (arguments.rows <= 8) {
    return simt::launch<simt::NoShared>(grid, stream, down<Format, 1>, arguments);
  }
  if (arguments.rows <= 16) {
    return simt::launch<simt::NoShared>(grid, stream, down<Format, 2>, arguments);
  }
  return simt::launch<simt::NoShared>(grid, stream, down<Format, 12>, arguments);
}

inline int run_gate_up(const GateUpArguments& arguments, void* stream) {
  return arguments.weight_format == WeightFormat::kE2m1
             ? run_gate_up_format<E2m1ByE4m3>(arguments, stream)
             : run_gate_up_format<E4m3ByE4m3>(arguments, stream);
}
inline int run_down(const DownArguments& arguments, void* stream) {
  return arguments.weight_format == WeightFormat::kE2m1
             ? run_down_format<E2m1ByE4m3>(arguments, stream)
             : run_down_format<E4m3ByE4m3>(arguments, stream);
}
inline int run_combine(const CombineArguments& arguments, void* stream) {
  if (arguments.choices > kChoicesMax) {
    return kInvalidArguments;
  }
  const GridShape grid{.blocks = {arguments.rows, 1, 1}, .threads = kRowThreads, .dependent = true};
  return simt::launch<simt::NoShared>(grid, stream, combine, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
