#pragma once

#include <cstdint>

#include "kernels/indexer/index_score.h"
#include "kernels/indexer/top_k.h"

namespace sparkspan::kernels {

// IndexScore and TopK in one launch, with the same results. Rows that see at most k keys are not
// scored.
struct SelectArguments {
  IndexScoreArguments score;
  TopKArguments top_k;  // of score.scores and score.visible; part_keys a multiple of kKeysPerBlock
  // [rows, TopKParts], zero before and after: of the blocks that score a part. top_k.arrivals are
  // of the parts.
  std::int32_t* arrivals;
};

int LaunchSelect(const SelectArguments& arguments, void* stream);
void EmulateSelect(const SelectArguments& arguments);

}  // namespace sparkspan::kernels
