#pragma once

#include <cstdint>

#include "kernels/sampling/sampling.h"

// Sampling with min-p, top-k and top-p, and the rejection rule for drafts, over a vocabulary that
// ranks share out: the rules of engine/runtime/sampler.h and acceptance.h, in their order.
//
//   1. temperature 0: the largest score. Else weights w(v) = exp((score(v) - largest) /
//   temperature);
//   2. min_p: tokens with w < min_p go;
//   3. top_k: the k likeliest of the rest stay, of equal scores the lowest ids;
//   4. top_p: of those the likeliest stay whose mass before them is below top_p of theirs all;
//   5. of those that stay, the largest score / temperature + g, as in sampling.h; or, for a row
//   with
//      a draft d that was drawn of q = softmax of the drafter's scores / temperature: d itself if
//      u q(d) < p(d), p being the softmax over those that stay, else the largest
//      log(max(p - q, 0)) + g.
//
// What stays is a prefix of the tokens by score, then by id: keys above a threshold and so many of
// its equals. Histograms find it digit by digit, without sorting, one launch a digit. Weights are
// summed as whole numbers of 2^-39, so the sums are the same in any order, on any cut into blocks
// and ranks; with respect to real numbers they are off by less than 3e-7 of the likeliest weight.
//
// A step launches
//   MeasureScores, CountScores for passes 0 to PassesOf(rows) - 1, DrawTokens, Accept.
// With several ranks the [ranks, ...] arrays are gathered after each: `largest`; then the pass's
// `counts` and `masses`, after pass 0 `draft_mass` too; then `choices`.
namespace sparkspan::kernels {

struct SampleRow {
  float temperature;   // 0: the largest score; nothing else applies then
  float min_p;         // 0: off
  float top_p;         // 1: off
  std::int32_t top_k;  // 0: off
  // The row of `drafters` that the row's draft was drawn of, and the draft, by the rejection rule;
  // negative: none.
  std::int32_t drafter_row;
  std::int32_t draft;
  std::uint64_t seed;
  std::uint64_t position;
};

// The largest keys of a stretch, of the row's scores and of its drafter's; 0: nothing is allowed.
struct LargestKeys {
  std::uint32_t target;
  std::uint32_t drafter;
};

// Where the search for a row's threshold stands.
struct FilterState {
  std::uint32_t prefix;       // of the threshold, as far as known
  std::uint32_t wanted;       // by count: how many are still wanted of the keys in doubt
  std::uint64_t wanted_mass;  // by mass: how much
  std::uint64_t above_mass;   // of the keys that stay for certain
};

constexpr int kScoreBins = 2048;
constexpr int kTieBins = 1024;  // of the last digit

// Passes of a step: three digits, and two more if one of its rows has both top_k and top_p.
constexpr int kPassesMax = 5;

struct SampleArguments {
  VocabularyShare share;
  VocabularyShare
      drafters;  // the same tokens, [drafter rows, ...]; logits null: no row has a draft
  const SampleRow* settings;  // [rows]
  int rows;
  int ranks;
  int rank;
  int stretches;  // PickBlocks of the largest share, the same number on every rank
  int passes;     // 3 or kPassesMax

  LargestKeys* largest;       // [ranks, rows, stretches]
  std::uint32_t* counts;      // [passes, ranks, rows, kScoreBins]
  std::uint64_t* masses;      // the same
  std::uint64_t* draft_mass;  // [ranks, rows, stretches]
  std::uint32_t* ties;        // scratch of this rank, [rows, stretches, kTieBins]
  FilterState* states;        // scratch of this rank, [passes, rows]
  RowChoice* partial;         // scratch of this rank, [rows, stretches]
  RowChoice* choices;         // [ranks, rows], out: its own part
};

// One digit of the search.
struct CountScoresArguments {
  SampleArguments sample;
  int pass;
};

int LaunchMeasureScores(const SampleArguments& arguments, void* stream);
int LaunchCountScores(const CountScoresArguments& arguments, void* stream);
int LaunchDrawTokens(const SampleArguments& arguments, void* stream);
void EmulateMeasureScores(const SampleArguments& arguments);
void EmulateCountScores(const CountScoresArguments& arguments);
void EmulateDrawTokens(const SampleArguments& arguments);

}  // namespace sparkspan::kernels
