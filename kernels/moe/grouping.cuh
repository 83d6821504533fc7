#pragma once

#include "kernels/moe/group_rows.cuh"
#include "kernels/moe/moe.h"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kGroupingThreads = kGroupExpertsMax;
constexpr int kGroupingWarps = kGroupingThreads / 32;

// Limits: 40 registers.
SIMT_KERNEL(kGroupingThreads) grouping(GroupingArguments arguments) {
  auto& shared = simt::shared<GroupingShared<kGroupingWarps>>();
  simt::dependency_trigger();
  simt::dependency_wait();
  group_rows(shared, arguments);
}

inline int run_grouping(const GroupingArguments& arguments, void* stream) {
  if (arguments.experts > kGroupExpertsMax) {
    return kInvalidArguments;
  }
  return simt::launch<GroupingShared<kGroupingWarps>>(
      GridShape{.threads = kGroupingThreads, .dependent = true}, stream, grouping, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
