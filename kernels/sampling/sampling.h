#pragma once

#include <cstdint>

#include "kernels/simt/words.h"

namespace sparkspan::kernels {

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
//   score(v) = logits(v) + bias(v)                              at temperature 0
//   score(v) = (logits(v) + bias(v)) / temperature + g(v)       else, g = -log(-log(u)) of v's draw
// which samples softmax(logits / temperature) exactly (the Gumbel maximum). Equal scores: the
// lowest token. The best over ranks is the best of their parts, by score, then by token.
struct PickArguments {
  const float* logits;           // [rows, vocabulary], of tokens first_token and up
  const float* bias;             // [rows, vocabulary], a drafter's correction; or null
  const std::uint32_t* allowed;  // [rows, ceil(vocabulary / 32)], a grammar's bits; or null
  const PickRow* settings;       // [rows]
  int rows;
  int vocabulary;
  int first_token;
  Picked* partial;  // scratch, [rows, PickBlocks(vocabulary)]
  Picked* picked;   // [rows], out
};

constexpr int kLogitsPerBlock = 4096;
SIMT_HOST_DEVICE constexpr int PickBlocks(int vocabulary) {
  return (vocabulary + kLogitsPerBlock - 1) / kLogitsPerBlock;
}

// How many drafted tokens stand. Row first_row[s] + i of the verification saw draft i - 1 (the
// anchor for i = 0), and target[row] is what the model itself picks after it with the row's own
// noise: a draft stands while it is that very token, so the output is bit for bit what undrafted
// decoding picks.
struct AcceptArguments {
  const std::int32_t* target;       // [rows]
  const std::int32_t* drafts;       // [sequences, drafts_max]
  const std::int32_t* first_row;    // [sequences]
  const std::int32_t* draft_count;  // [sequences], 0 to drafts_max
  int sequences;
  int drafts_max;          // at most 32
  std::int32_t* accepted;  // [sequences], out: drafts that stand
  std::int32_t* next;      // [sequences], out: the token after them
};

int LaunchPick(const PickArguments& arguments, void* stream);
int LaunchAccept(const AcceptArguments& arguments, void* stream);
void EmulatePick(const PickArguments& arguments);
void EmulateAccept(const AcceptArguments& arguments);

}  // namespace sparkspan::kernels
