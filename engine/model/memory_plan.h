#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model/model.h"
#include "engine/weights/host_memory.h"
#include "engine/weights/model_shape.h"
#include "engine/weights/rank_share.h"
#include "engine/weights/rank_weights.h"

namespace sparkspan::engine::model {

// What a rank is meant to serve.
struct MemoryDemand {
  std::int64_t kv_blocks = 0;  // of 256 tokens
  std::int64_t sequences = 0;  // at once
  std::int64_t step_rows = 0;  // of the largest step
  int mtp_block = 1;           // drafts per sequence, where drafting with an MTP block
};

// Bytes one rank needs, computed from config.json and the kind of drafter alone.
struct MemoryPlan {
  std::int64_t weights = 0;  // slices in their stored formats, aligned
  std::int64_t widened = 0;  // vectors and tables converted beside them
  std::int64_t kv_pool = 0;
  std::int64_t sequence_states = 0;
  std::int64_t activations = 0;  // of the largest step, its logits among them
  std::int64_t draft_states = 0;
  std::int64_t draft_activations = 0;
  std::int64_t staging = 0;  // while loading only

  std::int64_t loaded() const { return weights + widened; }
  std::int64_t serving() const {
    return loaded() + kv_pool + sequence_states + activations + draft_states + draft_activations;
  }
  std::int64_t peak() const { return std::max(serving(), loaded() + staging); }

  std::string Text() const;  // a table, for people
};

absl::StatusOr<MemoryPlan> PlanMemory(const weights::ModelShape& shape,
                                      const weights::RankShare& share,
                                      const ModelOptions& options,
                                      const weights::LoadOptions& load,
                                      const MemoryDemand& demand);

// Refuses a plan that does not fit what is available less `reserve_bytes`, with the figures and the
// remedy.
absl::Status CheckMemory(const MemoryPlan& plan,
                         const MemoryDemand& demand,
                         const weights::AvailableMemory& available,
                         std::int64_t reserve_bytes);

}  // namespace sparkspan::engine::model
