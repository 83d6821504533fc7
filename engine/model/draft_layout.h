#pragma once

#include <cstdint>

#include "engine/weights/model_shape.h"
#include "engine/weights/rank_share.h"
#include "kernels/cache_layout.h"
#include "kernels/numerics/profile.h"

// What a drafter keeps of a sequence and takes for a step: known of the shape, so that memory is
// budgeted before weights are there.
namespace sparkspan::engine::model {

inline constexpr int kMtpBlockMax = 2;

struct DraftLayout {
  int block = 0;  // drafts per request; 0: no drafter
  // A layer per stage: the window entries of committed rows, addressed by absolute position. MTP
  // drafts more than one token through rows that are not committed; its ring has room for them.
  kernels::CacheLayout rings;
  // MTP: fp32 [streams, hidden], what opened the block at the newest committed row.
  std::int64_t streams_offset = 0;
  std::int64_t state_bytes = 0;  // of one sequence
};

// `mtp_block`: drafts of an MTP drafter, 1 to kMtpBlockMax.
DraftLayout DraftLayoutOf(const weights::ModelShape& shape,
                          const kernels::numerics::NumericsProfile& numerics,
                          int mtp_block);

// Of a step that commits `rows` rows and drafts for `requests` sequences, on this rank; with what
// the target keeps of the rows for the drafter.
std::int64_t DraftActivationBytes(const weights::ModelShape& shape,
                                  const weights::RankShare& share,
                                  const DraftLayout& layout,
                                  std::int64_t rows,
                                  std::int64_t requests);

}  // namespace sparkspan::engine::model
