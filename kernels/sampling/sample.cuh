#pragma once

#include "kernels/sampling/filter.cuh"
#include "kernels/sampling/sample.h"
#include "kernels/sampling/scores.cuh"
#include "kernels/simt/launch.h"
#include "kernels/simt/simt.h"

// Draws a row's token from those that stay, or judges its draft.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

struct DrawShared {
  FilterShared filter;
  simt::SharedArray<std::uint32_t, kPickWarps> equals;
  simt::SharedArray<RowChoice, kPickWarps> choices;
};

// How a row is drawn.
struct DrawRule {
  bool filters;
  bool judges;  // a draft
  Threshold threshold;
  float largest;
  float target_mass;  // of all that stay, 1 for the likeliest
  float drafter_largest;
  float drafter_mass;
  float uniform;  // of the draft's test
};

SIMT_DEVICE float share_of_one(std::uint64_t mass) {
  return static_cast<float>(mass) * (1.0F / static_cast<float>(kMassOne));
}

SIMT_DEVICE DrawRule draw_rule(FilterShared& shared,
                               const SampleArguments& arguments,
                               const SampleRow& settings,
                               int row) {
  DrawRule rule = {};
  const int passes = passes_of(settings);
  if (passes == 0) {
    return rule;
  }
  rule.filters = true;
  rule.judges = has_draft(settings);
  const std::uint32_t largest = largest_of_row(arguments, row, false);
  if (largest == 0) {
    return rule;  // nothing can be kept
  }
  rule.largest = score_of_key(largest);
  if (passes == 1) {
    const FoundBin found =
        find_bin(shared, arguments, 0, row, false, [](const Bin&) { return std::uint64_t{1}; });
    rule.threshold = {0, 0, 0, found.total.mass};
  } else {
    rule.threshold = complete(enter_pass(shared, arguments, settings, passes, row));
  }
  if (rule.judges) {
    rule.target_mass = share_of_one(rule.threshold.mass);
    rule.drafter_largest = score_of_key(largest_of_row(arguments, row, true));
    std::uint64_t mass = 0;
    for (int i : simt::warp_stride(arguments.ranks * arguments.stretches)) {
      mass += arguments
                  .draft_mass[(static_cast<std::int64_t>(i / arguments.stretches) * arguments.rows +
                               row) *
                                  arguments.stretches +
                              i % arguments.stretches];
    }
    for (int mask = 16; mask > 0; mask /= 2) {
      mass += simt::shuffle_xor(mass, mask);
    }
    rule.drafter_mass = share_of_one(mass);
    rule.uniform =
        uniform_of(draw_group(settings.seed, settings.position, kAcceptPurpose, 0).word[0]);
  }
  return rule;
}

// Of the keys equal to the threshold: those before the warp's tokens, over all ranks, stretches and
// warps. Only looked for where some of them go.
SIMT_DEVICE std::uint32_t equals_before_warp(DrawShared& shared,
                                             const SampleArguments& arguments,
                                             const SampleRow& settings,
                                             const DrawRule& rule,
                                             int stretch,
                                             int row) {
  std::uint32_t own = 0;
  for_each_group(arguments.share, stretch, [&](int group) {
    const FourScores four = load_scores(arguments.share, row, group);
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      own +=
          is_candidate(four.score[i]) && sortable_key(four.score[i]) == rule.threshold.key ? 1 : 0;
    }
  });
  own = inclusive_sum_of_lanes(own);
  if (simt::lane_index() == 31) {
    shared.equals[simt::warp_index()] = own;
  }
  const int bin = static_cast<int>(rule.threshold.key % kTieBins);
  const int last = passes_of(settings) - 1;
  std::uint32_t before = 0;
  for (int rank = 0; rank < arguments.rank; ++rank) {
    before +=
        arguments
            .counts[((static_cast<std::int64_t>(last) * arguments.ranks + rank) * arguments.rows +
                     row) *
                        kScoreBins +
                    bin];
  }
  for (int earlier = 0; earlier < stretch; ++earlier) {
    before +=
        arguments.ties[(static_cast<std::int64_t>(row) * arguments.stretches + earlier) * kTieBins +
                       bin];
  }
  simt::sync_block();
  for (int warp = 0; warp < simt::warp_index(); ++warp) {
    before += shared.equals[warp];
  }
  return before;
}

// The lane's part of a row: one token after the other goes through it.
class LaneOfRow {
 public:
  SIMT_DEVICE LaneOfRow(const SampleArguments& arguments,
                        const SampleRow& settings,
                        const DrawRule& rule)
      : arguments_(arguments), settings_(settings), rule_(rule) {
    choice_.token = {kNothing, -1};
    choice_.residual = {kNothing, -1};
  }

  // Whether a token stays, which has `equals` of the threshold's equals before it.
  SIMT_DEVICE bool stays(float score, std::uint32_t equals) const {
    if (score == forbidden()) {
      return false;
    }
    if (!rule_.filters) {
      return true;
    }
    const std::uint32_t key = sortable_key(score);
    const bool within =
        key > rule_.threshold.key || (key == rule_.threshold.key && equals < rule_.threshold.stay);
    return within && (!(settings_.min_p > 0) ||
                      weight_of(score, rule_.largest, settings_.temperature) >= settings_.min_p);
  }

  SIMT_DEVICE void take(float score, int token, std::uint32_t draw) {
    if (!(settings_.temperature > 0)) {
      choice_.token = better(choice_.token, {score, token});
      return;
    }
    const float noise = gumbel_of(draw);
    if (!rule_.judges) {
      choice_.token =
          better(choice_.token, {simt::divide(score, settings_.temperature) + noise, token});
      return;
    }
    const float p =
        simt::divide(weight_of(score, rule_.largest, settings_.temperature), rule_.target_mass);
    const float q = drafter_share(token);
    const float rest = simt::maximum(p - q, 0.0F);
    choice_.token = better(choice_.token, {simt::log(p) + noise, token});
    if (rest > 0) {
      choice_.residual = better(choice_.residual, {simt::log(rest) + noise, token});
      choice_.residual_mass += mass_of(rest);
    }
    if (token == settings_.draft && rule_.uniform * q < p) {
      choice_.verdict |= kDraftStands;
    }
  }

  SIMT_DEVICE void report_no_number() { choice_.verdict |= kNotANumber; }
  SIMT_DEVICE const RowChoice& choice() const { return choice_; }

 private:
  // q of a token.
  SIMT_DEVICE float drafter_share(int token) const {
    const VocabularyShare& drafters = arguments_.drafters;
    const std::int64_t at = static_cast<std::int64_t>(settings_.drafter_row) * drafters.vocabulary +
                            token - drafters.first_token;
    const float score = drafters.logits[at] + (drafters.bias != nullptr ? drafters.bias[at] : 0.0F);
    return simt::divide(weight_of(score, rule_.drafter_largest, settings_.temperature),
                        rule_.drafter_mass);
  }

  const SampleArguments& arguments_;
  const SampleRow& settings_;
  const DrawRule& rule_;
  RowChoice choice_ = {};
};

SIMT_DEVICE RowChoice joined(const RowChoice& a, const RowChoice& b) {
  return {better(a.token, b.token),
          better(a.residual, b.residual),
          a.residual_mass + b.residual_mass,
          a.verdict | b.verdict,
          0};
}

SIMT_DEVICE RowChoice join_lanes(RowChoice choice) {
  choice.token = best_of_lanes(choice.token);
  choice.residual = best_of_lanes(choice.residual);
  for (int mask = 16; mask > 0; mask /= 2) {
    choice.residual_mass += simt::shuffle_xor(choice.residual_mass, mask);
    choice.verdict |= simt::shuffle_xor(choice.verdict, mask);
  }
  return choice;
}

// Grid: stretches of the vocabulary, rows.
// Limits: 80 registers.
SIMT_KERNEL(kPickThreads) draw_tokens(SampleArguments arguments) {
  auto& shared = simt::shared<DrawShared>();
  simt::dependency_trigger();
  simt::dependency_wait();
  const int stretch = simt::block_index();
  const int row = simt::block_index_y();
  const SampleRow settings = arguments.settings[row];
  const DrawRule rule = draw_rule(shared.filter, arguments, settings, row);
  const bool cuts_equals = rule.threshold.stay < rule.threshold.equals;
  std::uint32_t equals =
      cuts_equals ? equals_before_warp(shared, arguments, settings, rule, stretch, row) : 0U;
  LaneOfRow lane(arguments, settings, rule);
  for_each_group(arguments.share, stretch, [&](int group) {
    const FourScores four = load_scores(arguments.share, row, group);
    std::uint32_t here = 0;
    if (cuts_equals) {
      SIMT_UNROLL
      for (int i = 0; i < 4; ++i) {
        here += sortable_key(four.score[i]) == rule.threshold.key ? 1 : 0;
      }
      const std::uint32_t inclusive = inclusive_sum_of_lanes(here);
      here = equals + inclusive - here;
      equals += simt::shuffle_from(inclusive, 31);
    }
    bool stay[4];
    bool any = false;
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      stay[i] = lane.stays(four.score[i], here);
      here += cuts_equals && sortable_key(four.score[i]) == rule.threshold.key ? 1 : 0;
      any = any || stay[i];
      if (!is_number(four.score[i])) {
        lane.report_no_number();
      }
    }
    if (any) {
      const std::uint32_t purpose = rule.judges ? kResidualPurpose : kSamplePurpose;
      const Words<4> draws = draw_group(settings.seed, settings.position, purpose, group);
      SIMT_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (stay[i]) {
          lane.take(four.score[i], group * 4 + i, draws.word[i]);
        }
      }
    }
  });
  RowChoice choice = join_lanes(lane.choice());
  if (simt::lane_index() == 0) {
    shared.choices[simt::warp_index()] = choice;
  }
  simt::sync_block();
  if (simt::thread_index() == 0) {
    for (int warp = 1; warp < kPickWarps; ++warp) {
      choice = joined(choice, shared.choices[warp]);
    }
    simt::store(arguments.partial + static_cast<std::int64_t>(row) * arguments.stretches + stretch,
                choice);
  }
}

// One warp a row.
// Limits: 48 registers.
SIMT_KERNEL(32) join_draws(SampleArguments arguments) {
  simt::dependency_trigger();
  simt::dependency_wait();
  const int row = simt::block_index();
  RowChoice choice = {{kNothing, -1}, {kNothing, -1}, 0, 0, 0};
  for (int i : simt::warp_stride(arguments.stretches)) {
    choice =
        joined(choice, arguments.partial[static_cast<std::int64_t>(row) * arguments.stretches + i]);
  }
  choice = join_lanes(choice);
  if (simt::lane_index() == 0) {
    simt::store(arguments.choices + arguments.rank * arguments.rows + row, choice);
  }
}

inline int run_draw_tokens(const SampleArguments& arguments, void* stream) {
  if (!fits(arguments)) {
    return kInvalidArguments;
  }
  const int error = simt::launch<DrawShared>(grid_of(arguments), stream, draw_tokens, arguments);
  if (error != 0) {
    return error;
  }
  const GridShape join{.blocks = {arguments.rows, 1, 1}, .threads = 32, .dependent = true};
  return simt::launch<simt::NoShared>(join, stream, join_draws, arguments);
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
