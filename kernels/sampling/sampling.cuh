#pragma once

#include "kernels/sampling/sampling.h"
#include "kernels/sampling/scores.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

struct PickShared {
  simt::SharedArray<float, kPickWarps> score;
  simt::SharedArray<int, kPickWarps> token;
};

// The lane's best of a group of four.
SIMT_DEVICE Picked pick_of_group(const PickRow& settings,
                                 const FourScores& four,
                                 int group,
                                 Picked best) {
  Words<4> draws = {};
  if (settings.temperature > 0) {
    draws = draw_group(settings.seed, settings.position, settings.purpose, group);
  }
  SIMT_UNROLL
  for (int i = 0; i < 4; ++i) {
    float score = four.score[i];
    if (score == forbidden()) {
      continue;
    }
    if (settings.temperature > 0) {
      score = simt::divide(score, settings.temperature) + gumbel_of(draws.word[i]);
    }
    best = better(best, {score, group * 4 + i});
  }
  return best;
}

// Grid: stretches of the vocabulary, rows.
// Limits: 40 registers.
SIMT_KERNEL(kPickThreads) pick(PickArguments arguments) {
  auto& shared = simt::shared<PickShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index_y();
  const PickRow settings = arguments.settings[row];
  Picked best{kNothing, -1};
  for_each_group(arguments.share, simt::block_index(), [&](int group) {
    best = pick_of_group(settings, load_scores(arguments.share, row, group), group, best);
  });
  best = best_of_lanes(best);
  if (simt::lane_index() == 0) {
    shared.score[simt::warp_index()] = best.score;
    shared.token[simt::warp_index()] = best.token;
  }
  simt::sync_block();
  if (simt::thread_index() == 0) {
    for (int warp = 1; warp < kPickWarps; ++warp) {
      best = better(best, {shared.score[warp], shared.token[warp]});
    }
    simt::store(arguments.partial + static_cast<std::int64_t>(row) * simt::grid_blocks() +
                    simt::block_index(),
                best);
  }
}

// One warp a row.
// Limits: 24 registers.
SIMT_KERNEL(32) pick_join(PickArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index();
  const int blocks = PickBlocks(arguments.share.vocabulary);
  Picked best{kNothing, -1};
  for (int i : simt::warp_stride(blocks)) {
    best = better(best, arguments.partial[static_cast<std::int64_t>(row) * blocks + i]);
  }
  best = best_of_lanes(best);
  if (simt::lane_index() == 0) {
    simt::store(arguments.picked + row, best);
  }
}

// Below this mass p and q are one distribution up to rounding, and so is the residual p.
constexpr std::uint64_t kResidualLeast = static_cast<std::uint64_t>(1e-8 * kMassOne);

// The token of a row whose draft is `draft`, negative where there is none.
SIMT_DEVICE std::int32_t token_of_row(const AcceptArguments& arguments,
                                      std::int32_t row,
                                      std::int32_t draft) {
  Picked token{kNothing, -1};
  Picked residual{kNothing, -1};
  std::uint64_t residual_mass = 0;
  std::uint32_t verdict = 0;
  for (int rank = 0; rank < arguments.ranks; ++rank) {
    const int at = rank * arguments.rows + row;
    if (arguments.picked != nullptr) {
      token = better(token, arguments.picked[at]);
    } else {
      const RowChoice choice = arguments.choices[at];
      token = better(token, choice.token);
      residual = better(residual, choice.residual);
      residual_mass += choice.residual_mass;
      verdict |= choice.verdict;
    }
  }
  if ((verdict & kNotANumber) != 0) {
    return -2;
  }
  if ((verdict & kDraftStands) != 0) {
    return draft;
  }
  return residual_mass >= kResidualLeast ? residual.token : token.token;
}

// One warp a sequence, one lane a draft.
// Limits: 40 registers.
SIMT_KERNEL(32) accept(AcceptArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int sequence = simt::block_index();
  const int lane = simt::lane_index();
  const int count = arguments.draft_count[sequence];
  const std::int32_t first_row = arguments.first_row[sequence];
  bool stands = false;
  if (lane < count) {
    const std::int32_t draft = arguments.drafts[sequence * arguments.drafts_max + lane];
    stands = token_of_row(arguments, first_row + lane, draft) == draft;
  }
  const std::uint32_t votes = simt::ballot(stands);
  const int accepted = votes == 0xFFFFFFFFU ? 32 : 31 - simt::leading_zeros(~votes & (votes + 1));
  if (lane == 0) {
    simt::store(arguments.accepted + sequence, accepted);
    // The first draft that fell, or none: its row's verdict lets no draft stand.
    simt::store(arguments.next + sequence, token_of_row(arguments, first_row + accepted, -1));
  }
}

inline int run_pick(const PickArguments& arguments, void* stream) {
  const GridShape grid{.blocks = {PickBlocks(arguments.share.vocabulary), arguments.rows, 1},
                       .threads = kPickThreads,
                       .dependent = true};
  const int error = simt::launch<PickShared>(grid, stream, pick, arguments);
  if (error != 0) {
    return error;
  }
  const GridShape join{.blocks = {arguments.rows, 1, 1}, .threads = 32, .dependent = true};
  return simt::launch<simt::NoShared>(join, stream, pick_join, arguments);
}

inline int run_accept(const AcceptArguments& arguments, void* stream) {
  if (arguments.drafts_max > 32) {
    return kInvalidArguments;
  }
  const GridShape grid{.blocks = {arguments.sequences, 1, 1}, .threads = 32, .dependent = true};
  return simt::launch<simt::NoShared>(grid, stream, accept, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
