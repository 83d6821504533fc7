#pragma once

#include "kernels/norm/row.cuh"
#include "kernels/sampling/draft.h"
#include "kernels/sampling/sampling.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

SIMT_DEVICE std::int32_t token_of_turn(const DraftTurnArguments& arguments, int sequence) {
  if (arguments.turn == 0) {
    return arguments.anchors[sequence];
  }
  Picked best{kNothing, -1};
  for (int rank = 0; rank < arguments.ranks; ++rank) {
    best = better(best, arguments.picked[rank * arguments.sequences + sequence]);
  }
  return best.token;
}

// One block a sequence; every thread finds the token, so that nobody waits for one.
// Limits: 48 registers.
SIMT_KERNEL(kRowThreads) draft_turn(DraftTurnArguments arguments) {
  auto& shared = simt::shared<RowShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const int sequence = simt::block_index();
  const std::int32_t token = token_of_turn(arguments, sequence);
  const std::int64_t first = static_cast<std::int64_t>(sequence) * arguments.drafts_max;
  if (arguments.turn > 0 && simt::thread_index() == 0) {
    simt::store(arguments.drafts + first + arguments.turn - 1, token);
  }
  if (arguments.e == nullptr) {
    return;
  }
  // Nothing could be drafted: any row serves, for what follows is not used.
  const std::uint16_t* e =
      arguments.w1 + static_cast<std::int64_t>(token < 0 ? 0 : token) * arguments.markov;
  const std::uint16_t* h = arguments.h + (first + arguments.turn) * arguments.hidden;
  float sum = 0;
  for (int i : simt::block_stride(arguments.hidden)) {
    sum = simt::fma(simt::bf16_to_float(h[i]), simt::bf16_to_float(arguments.proj[i]), sum);
  }
  for (int i : simt::block_stride(arguments.markov)) {
    sum = simt::fma(
        simt::bf16_to_float(e[i]), simt::bf16_to_float(arguments.proj[arguments.hidden + i]), sum);
    simt::store(arguments.e + static_cast<std::int64_t>(sequence) * arguments.markov + i, e[i]);
  }
  sum = simt::block_sum(sum, shared.partial);
  if (simt::thread_index() == 0) {
    simt::store(arguments.confidence + first + arguments.turn, sum);
  }
}

inline int run_draft_turn(const DraftTurnArguments& arguments, void* stream) {
  if (arguments.turn > arguments.drafts_max ||
      (arguments.turn == arguments.drafts_max && arguments.e != nullptr)) {
    return kInvalidArguments;
  }
  const GridShape grid{
      .blocks = {arguments.sequences, 1, 1}, .threads = kRowThreads, .dependent = true};
  return simt::launch<RowShared>(grid, stream, draft_turn, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
