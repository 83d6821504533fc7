#pragma once

#include "kernels/moe/moe.h"
#include "kernels/simt/simt.h"

// One block, one thread an expert: each reads all choices from shared memory and keeps its own, so
// the order inside an expert is that of the rows without any sorting or atomics.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kIdsPerChunk = 1024;

template <int kWarps>
struct GroupingShared {
  simt::SharedArray<int, kIdsPerChunk> ids;
  simt::SharedArray<int, kWarps> rows_of_warp;
  simt::SharedArray<int, kWarps> active_of_warp;
};

// Calls visit(assignment) for the assignments of `expert`, ascending; all threads must call.
template <int kWarps, class Visit>
SIMT_DEVICE void for_each_assignment(GroupingShared<kWarps>& shared,
                                     const GroupingArguments& arguments,
                                     int expert,
                                     const Visit& visit) {
  const int total = arguments.rows * arguments.choices;
  for (int first = 0; first < total; first += kIdsPerChunk) {
    const int count = total - first < kIdsPerChunk ? total - first : kIdsPerChunk;
    for (int i : simt::block_stride(count)) {
      shared.ids[i] = simt::load(arguments.ids + first + i) - arguments.first_expert;
    }
    simt::sync_block();
    for (int i = 0; i < count; ++i) {
      const int chosen = shared.ids[i];
      if (chosen == expert) {
        visit(first + i);
      }
    }
    simt::sync_block();
  }
}

// The block groups all rows; it has a thread for each expert.
template <int kWarps>
SIMT_DEVICE void group_rows(GroupingShared<kWarps>& shared, const GroupingArguments& arguments) {
  const int expert = simt::thread_index();
  const bool exists = expert < arguments.experts;
  int rows = 0;
  for_each_assignment(shared, arguments, exists ? expert : -1 - expert, [&](int) { ++rows; });
  rows = exists ? rows : 0;

  const int active = rows > 0 ? 1 : 0;
  const int rows_through = simt::warp_inclusive_sum(rows);
  const int active_through = simt::warp_inclusive_sum(active);
  if (simt::lane_index() == 31) {
    shared.rows_of_warp[simt::warp_index()] = rows_through;
    shared.active_of_warp[simt::warp_index()] = active_through;
  }
  simt::sync_block();
  int offset = rows_through - rows;
  int rank = active_through - active;
  for (int warp = 0; warp < simt::warp_index(); ++warp) {
    offset += shared.rows_of_warp[warp];
    rank += shared.active_of_warp[warp];
  }
  if (exists) {
    simt::store(arguments.offsets + expert, offset);
    if (rows > 0) {
      simt::store(arguments.active + rank, expert);
    }
    if (expert == arguments.experts - 1) {
      simt::store(arguments.offsets + arguments.experts, offset + rows);
      simt::store(arguments.active_count, rank + active);
    }
  }
  for_each_assignment(shared, arguments, exists ? expert : -1 - expert, [&](int assignment) {
    if (exists) {
      simt::store(arguments.order + offset++, assignment);
    }
  });
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
