#pragma once

#include "kernels/fused/fused.h"
#include "kernels/fused/fused_grid.cuh"
#include "kernels/linear/linear_tile.cuh"
#include "kernels/moe/expert.cuh"
#include "kernels/moe/group_rows.cuh"
#include "kernels/router/route_row.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

// Routing and the experts of a layer in three launches.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

struct RouteShared {
  LinearShared product;
  GroupingShared<kLinearWarps> grouping;
  simt::SharedArray<int, 1> is_last;
};

// Limits: 232 registers; blocks per SM on sm_12x 2 <1>, 2 <2>, 1 <6>; 8 weights before the wait.
template <int kTiles>
SIMT_KERNEL(kLinearThreads, 1)
route(RouteArguments arguments) {
  auto& shared = simt::shared<RouteShared>();
  simt::dependency_trigger();
  linear_tile<Bf16ByBf16, kTiles>(shared.product, arguments.product, simt::block_index(), 0);
  if (!simt::arrive_last(arguments.arrivals, TilesDown(arguments.product.n), shared.is_last)) {
    return;
  }
  for (int row = simt::warp_index(); row < arguments.router.rows; row += kLinearWarps) {
    route_row(arguments.router, row);
  }
  simt::sync_block();
  group_rows(shared.grouping, arguments.grouping);
}

// Grid: stretches of 128 columns; the shared expert, then the active ones.
// Limits: 248 registers; blocks per SM on sm_12x 4 <1>, 2 <2>, 1 <6>.
template <int kTiles>
SIMT_KERNEL(kExpertThreads)
experts_up(ExpertsUpArguments arguments) {
  auto& shared = simt::shared<ExpertShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const int n = simt::block_index_y() - 1;
  if (n >= 0) {
    if (simt::block_index() * kExpertColumns < arguments.routed.intermediate) {
      gate_up_expert<E2m1ByE4m3, kTiles>(shared, arguments.routed, n);
    }
  } else if (arguments.shared_expert.w1 != nullptr &&
             simt::block_index() * kExpertColumns < arguments.shared_expert.intermediate) {
    gate_up_expert<E4m3ByE4m3, kTiles>(shared, arguments.shared_expert, 0);
  }
}

struct ExpertsDownShared {
  simt::SharedArray<int, 1> is_last;
};

// Limits: 128 registers; blocks per SM on sm_12x 5 <1>, 4 <2>, 3 <6>.
template <int kTiles>
SIMT_KERNEL(kExpertThreads)
experts_down(ExpertsDownArguments arguments) {
  auto& shared = simt::shared<ExpertsDownShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const int active = *arguments.routed.grouping.active_count;
  const int n = simt::block_index_y() - 1;
  if (n >= active) {
    return;
  }
  if (n >= 0) {
    down_expert<E2m1ByE4m3, kTiles>(arguments.routed, n);
  } else if (arguments.shared_expert.w2 != nullptr) {
    down_expert<E4m3ByE4m3, kTiles>(arguments.shared_expert, 0);
  }
  // The blocks of the shared expert come even without one, so that somebody writes the sum.
  const int columns = simt::block_index();
  if (!simt::arrive_last(arguments.arrivals + columns, active + 1, shared.is_last)) {
    return;
  }
  const CombineArguments& combine = arguments.combine;
  constexpr int kRowsAtOnce = kExpertThreads / kExpertColumns;
  const int column = columns * kExpertColumns + simt::thread_index() % kExpertColumns;
  for (int row = simt::thread_index() / kExpertColumns; row < combine.rows; row += kRowsAtOnce) {
    const std::uint64_t order =
        ascending_choices(combine.ids + row * combine.choices, combine.choices);
    combine_column(combine, order, row, column);
  }
}

inline int run_route(const RouteArguments& arguments, void* stream) {
  if (!fits_fused(arguments.product) || arguments.grouping.experts > kLinearThreads ||
      arguments.router.experts > kRouterExpertsMax ||
      arguments.router.choices > kRouterChoicesMax) {
    return kInvalidArguments;
  }
  const GridShape grid = fused_grid(TilesDown(arguments.product.n));
  return by_rows(
      arguments.product.rows,
      [&] { return simt::launch<RouteShared>(grid, stream, route<1>, arguments); },
      [&] { return simt::launch<RouteShared>(grid, stream, route<2>, arguments); },
      [&] { return simt::launch<RouteShared>(grid, stream, route<6>, arguments); });
}

inline bool formats_fit(WeightFormat routed, WeightFormat shared_expert) {
  return routed == WeightFormat::kE2m1 && shared_expert == WeightFormat::kE4m3;
}

inline int run_experts_up(const ExpertsUpArguments& arguments, void* stream) {
  const int widest = arguments.routed.intermediate > arguments.shared_expert.intermediate
                         ? arguments.routed.intermediate
                         : arguments.shared_expert.intermediate;
  GridShape grid = expert_grid(arguments.routed, widest);
  ++grid.blocks.y;
  if (arguments.routed.rows > kFusedRowsMax ||
      !formats_fit(arguments.routed.weight_format, arguments.shared_expert.weight_format)) {
    return kInvalidArguments;
  }
  if (arguments.routed.rows <= 8) {
    return simt::launch<ExpertShared>(grid, stream, experts_up<1>, arguments);
  }
  if (arguments.routed.rows <= 16) {
    return simt::launch<ExpertShared>(grid, stream, experts_up<2>, arguments);
  }
  return simt::launch<ExpertShared>(grid, stream, experts_up<6>, arguments);
}

inline int run_experts_down(const ExpertsDownArguments& arguments, void* stream) {
  GridShape grid = expert_grid(arguments.routed, arguments.routed.hidden);
  ++grid.blocks.y;
  if (arguments.routed.rows > kFusedRowsMax || arguments.combine.choices > kChoicesMax ||
      !formats_fit(arguments.routed.weight_format, arguments.shared_expert.weight_format)) {
    return kInvalidArguments;
  }
  if (arguments.routed.rows <= 8) {
    return simt::launch<ExpertsDownShared>(grid, stream, experts_down<1>, arguments);
  }
  if (arguments.routed.rows <= 16) {
    return simt::launch<ExpertsDownShared>(grid, stream, experts_down<2>, arguments);
  }
  return simt::launch<ExpertsDownShared>(grid, stream, experts_down<6>, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
