#pragma once

#include <cstdint>

#include "kernels/simt/words.h"

namespace sparkspan::kernels {

// The purposes of draws, as engine::RandomPurpose numbers them.
constexpr std::uint32_t kSamplePurpose = 0;
constexpr std::uint32_t kAcceptPurpose = 2;
constexpr std::uint32_t kResidualPurpose = 3;

// A rank's part of the vocabulary for some rows: the score of a token is its logit, plus its bias
// where there is one. Minus infinity forbids a token.
struct VocabularyShare {
  const float* logits;  // [rows, vocabulary], of tokens first_token and up; 16-byte aligned
  const float* bias;    // [rows, vocabulary], a drafter's correction, aligned; or null
  const std::uint32_t* allowed;  // [rows, ceil(vocabulary / 32)], a grammar's bits; or null
  int vocabulary;
  int first_token;
};

// How a row's token is drawn. Noise is a function of (seed, position, purpose, token id) alone, the
// generator of engine/base/random.h, so neither batching nor sharding changes it.
struct PickRow {
  float temperature;  // 0: the largest logit
  std::uint32_t purpose;
  std::uint64_t seed;
  std::uint64_t position;
};

struct Picked {
  float score;
  std::int32_t token;  // -1 when nothing is allowed
};

// Per row the token of the largest score among this rank's part of the vocabulary:
//   score(v)                                     at temperature 0
//   score(v) / temperature + g(v)                else, g = -log(-log(u)) of v's draw
// which samples softmax(score / temperature) exactly (the Gumbel maximum). Equal scores: the lowest
// token. The best over ranks is the best of their parts, by score, then by token. Rows that ask for
// more than a temperature: sample.h.
struct PickArguments {
  VocabularyShare share;
  const PickRow* settings;  // [rows]
  int rows;
  Picked* partial;  // scratch, [rows, PickBlocks(vocabulary)]
  Picked* picked;   // [rows], out
};

// Four neighbouring tokens have their noise from one block of the generator, wherever a part of the
// vocabulary begins: its first and last group of four may reach beyond it.
constexpr int kLogitsPerBlock = 4096;
SIMT_HOST_DEVICE constexpr int PickBlocks(int vocabulary) {
  return (vocabulary + 3 + kLogitsPerBlock - 1) / kLogitsPerBlock;
}

// What a rank's part of the vocabulary says of a row that was sampled (sample.h).
struct RowChoice {
  Picked token;     // of those that stay
  Picked residual;  // of those that stay and that the target gives more mass than the drafter
  // Of max(p - q, 0) over this part, p and q as shares of kMassOne.
  std::uint64_t residual_mass;
  std::uint32_t verdict;  // kDraftStands, kNotANumber
  std::uint32_t unused;
};
constexpr std::uint64_t kMassOne = std::uint64_t{1} << 39;
constexpr std::uint32_t kDraftStands = 1;  // the row's draft is of this part, and u q < p
constexpr std::uint32_t kNotANumber = 2;   // a score is NaN or plus infinity

// How many drafted tokens stand. Row first_row[s] + i of the verification saw draft i - 1 (the
// anchor for i = 0), and from what the ranks picked it has a token: the draft itself where the
// rejection rule lets it stand, else the best over ranks. A draft stands while it is its row's
// token. Where rows draw with their own noise, that makes the output bit for bit what undrafted
// decoding picks; by the rejection rule it has its distribution.
struct AcceptArguments {
  const Picked* picked;      // [ranks, rows]; or null:
  const RowChoice* choices;  // [ranks, rows]
  int ranks;
  int rows;
  const std::int32_t* drafts;       // [sequences, drafts_max]
  const std::int32_t* first_row;    // [sequences]
  const std::int32_t* draft_count;  // [sequences], 0 to drafts_max
  int sequences;
  int drafts_max;          // at most 32
  std::int32_t* accepted;  // [sequences], out: drafts that stand
  // [sequences], out: the token after them. -1: nothing is allowed; -2: its row has a score that is
  // not a number.
  std::int32_t* next;
};

int LaunchPick(const PickArguments& arguments, void* stream);
int LaunchAccept(const AcceptArguments& arguments, void* stream);
void EmulatePick(const PickArguments& arguments);
void EmulateAccept(const AcceptArguments& arguments);

}  // namespace sparkspan::kernels
