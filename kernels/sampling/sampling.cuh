#pragma once

#include "kernels/sampling/sampling.h"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kPickWarps = 8;
constexpr int kPickThreads = kPickWarps * 32;
constexpr float kNothing = -3.4e38F;

struct PickShared {
  simt::SharedArray<float, kPickWarps> score;
  simt::SharedArray<int, kPickWarps> token;
};

// The token's word of its group's Philox4x32-10 block, as engine/base/random.h defines the draw.
SIMT_DEVICE std::uint32_t philox(const PickRow& row, std::uint32_t token) {
  std::uint32_t x0 = static_cast<std::uint32_t>(row.position);
  std::uint32_t x1 = static_cast<std::uint32_t>(row.position >> 32);
  std::uint32_t x2 = row.purpose;
  std::uint32_t x3 = token / 4;
  std::uint32_t k0 = static_cast<std::uint32_t>(row.seed);
  std::uint32_t k1 = static_cast<std::uint32_t>(row.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint32_t high0 = simt::multiply_high(0xD2511F53U, x0);
    const std::uint32_t high1 = simt::multiply_high(0xCD9E8D57U, x2);
    const std::uint32_t low0 = 0xD2511F53U * x0;
    const std::uint32_t low1 = 0xCD9E8D57U * x2;
    x0 = high1 ^ x1 ^ k0;
    x1 = low1;
    x2 = high0 ^ x3 ^ k1;
    x3 = low0;
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  const std::uint32_t low = token % 2 == 0 ? x0 : x1;
  const std::uint32_t high = token % 2 == 0 ? x2 : x3;
  return token % 4 < 2 ? low : high;
}

SIMT_DEVICE float gumbel(const PickRow& row, std::uint32_t token) {
  const float uniform = (static_cast<float>(philox(row, token) >> 9) + 0.5F) * 0x1p-23F;
  return -simt::log(-simt::log(uniform));
}

SIMT_DEVICE Picked better(const Picked& a, const Picked& b) {
  if (b.token < 0) {
    return a;
  }
  const bool b_wins = a.token < 0 || b.score > a.score || (b.score == a.score && b.token < a.token);
  return b_wins ? b : a;
}

SIMT_DEVICE Picked best_of_lanes(Picked best) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const float score = simt::shuffle_xor(best.score, mask);
    const int token = simt::shuffle_xor(best.token, mask);
    best = better(best, {score, token});
  }
  return best;
}

// Grid: stretches of the vocabulary, rows.
// Limits: 56 registers.
SIMT_KERNEL(kPickThreads) pick(PickArguments arguments) {
  auto& shared = simt::shared<PickShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index_y();
  const PickRow settings = arguments.settings[row];
  const std::int64_t first = static_cast<std::int64_t>(row) * arguments.vocabulary;
  const int begin = simt::block_index() * kLogitsPerBlock;
  const int words = (arguments.vocabulary + 31) / 32;
  Picked best{kNothing, -1};
  for (int i = begin + simt::thread_index();
       i < begin + kLogitsPerBlock && i < arguments.vocabulary;
       i += kPickThreads) {
    if (arguments.allowed != nullptr &&
        (arguments.allowed[static_cast<std::int64_t>(row) * words + i / 32] >> (i % 32) & 1U) ==
            0) {
      continue;
    }
    float score = arguments.logits[first + i];
    if (arguments.bias != nullptr) {
      score += arguments.bias[first + i];
    }
    const int token = arguments.first_token + i;
    if (settings.temperature > 0) {
      score = simt::divide(score, settings.temperature) +
              gumbel(settings, static_cast<std::uint32_t>(token));
    }
    best = better(best, {score, token});
  }
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
    arguments.partial[static_cast<std::int64_t>(row) * simt::grid_blocks() + simt::block_index()] =
        best;
  }
}

// One warp a row.
// Limits: 24 registers.
SIMT_KERNEL(32) pick_join(PickArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index();
  const int blocks = PickBlocks(arguments.vocabulary);
  Picked best{kNothing, -1};
  for (int i : simt::warp_stride(blocks)) {
    best = better(best, arguments.partial[static_cast<std::int64_t>(row) * blocks + i]);
  }
  best = best_of_lanes(best);
  if (simt::lane_index() == 0) {
    arguments.picked[row] = best;
  }
}

// One warp a sequence, one lane a draft.
// Limits: 24 registers.
SIMT_KERNEL(32) accept(AcceptArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int sequence = simt::block_index();
  const int lane = simt::lane_index();
  const int count = arguments.draft_count[sequence];
  const std::int32_t* target = arguments.target + arguments.first_row[sequence];
  const bool stands =
      lane < count && arguments.drafts[sequence * arguments.drafts_max + lane] == target[lane];
  const std::uint32_t votes = simt::ballot(stands);
  const int accepted = votes == 0xFFFFFFFFU ? 32 : 31 - simt::leading_zeros(~votes & (votes + 1));
  if (lane == 0) {
    arguments.accepted[sequence] = accepted;
    arguments.next[sequence] = target[accepted];
  }
}

inline int run_pick(const PickArguments& arguments, void* stream) {
  const GridShape grid{.blocks = {PickBlocks(arguments.vocabulary), arguments.rows, 1},
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
