#pragma once

#include "kernels/router/route_row.cuh"
#include "kernels/router/router.h"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kRouterWarps = 8;
constexpr int kRouterThreads = kRouterWarps * 32;

// Limits: 56 registers.
SIMT_KERNEL(kRouterThreads) router(RouterArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index() * kRouterWarps + simt::warp_index();
  if (row < arguments.rows) {
    route_row(arguments, row);
  }
}

inline int run_router(const RouterArguments& arguments, void* stream) {
  if (arguments.experts > kRouterExpertsMax || arguments.choices > kRouterChoicesMax) {
    return kInvalidArguments;
  }
  const GridShape grid{.blocks = {(arguments.rows + kRouterWarps - 1) / kRouterWarps, 1, 1},
                       .threads = kRouterThreads,
                       .dependent = true};
  return simt::launch<simt::NoShared>(grid, stream, router, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
