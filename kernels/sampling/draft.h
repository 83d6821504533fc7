#pragma once

#include <cstdint>

#include "kernels/sampling/sampling.h"

namespace sparkspan::kernels {

// A turn of the drafter's left-to-right correction, for all sequences at once: joins what the ranks
// picked into one token, keeps it as a draft, and prepares the next position:
//   token = the best over ranks, by score, then by lowest id (at the first turn: the anchor)
//   e = w1[token]                               the input of the bias product w2 e
//   confidence = proj . concat(h, e)            raw, fp32, of the position that comes next
// A chain of (turn, Linear with w2, Pick with the bias, exchange of picks) drafts a block without
// the host; the last turn only keeps its token.
struct DraftTurnArguments {
  const Picked* picked;         // [ranks, sequences]; null at the first turn
  const std::int32_t* anchors;  // [sequences], read at the first turn
  int ranks;
  int sequences;
  int turn;  // 0: the first; token t of a turn t > 0 is draft t - 1
  int drafts_max;
  std::int32_t* drafts;  // [sequences, drafts_max]

  const std::uint16_t* w1;  // bf16 [vocabulary, markov]
  int markov;
  std::uint16_t* e;        // bf16 [sequences, markov], out; null at the last turn
  const std::uint16_t* h;  // bf16 [sequences, drafts_max, hidden], before the norm
  int hidden;
  const std::uint16_t* proj;  // bf16 [hidden + markov]
  float* confidence;          // [sequences, drafts_max], out
};

int LaunchDraftTurn(const DraftTurnArguments& arguments, void* stream);
void EmulateDraftTurn(const DraftTurnArguments& arguments);

}  // namespace sparkspan::kernels
