#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/gumbel.h"
#include "engine/collective/communicator.h"
#include "engine/draft/draft_parts.h"
#include "engine/draft/drafter.h"
#include "engine/model/draft_layout.h"
#include "engine/model/execution.h"
#include "engine/weights/model_shape.h"
#include "engine/weights/rank_share.h"

namespace sparkspan::engine::draft {

// What drafters of every kind do alike: check what they are given, run stages, draw tokens of
// logits that are dealt to the ranks, gather those that are kept.
class StageRunner {
 public:
  StageRunner(DraftParts parts,
              const weights::ModelShape& shape,
              const weights::RankShare& share,
              const model::DraftLayout& layout,
              model::ExecutionParts execution,
              collective::Communicator* communicator);

  const DraftParts& parts() const { return parts_; }
  const weights::ModelShape& shape() const { return shape_; }
  const model::DraftLayout& layout() const { return layout_; }
  kernels::Ops& ops() { return *execution_.ops; }
  std::size_t hidden() const { return static_cast<std::size_t>(parts_.shape.hidden); }
  std::size_t share() const { return static_cast<std::size_t>(parts_.head.rows); }
  std::int64_t ActivationBytes(std::int64_t rows, std::int64_t requests) const;

  // `row_width`: values that the target gives for a row.
  absl::Status CheckSpans(std::span<const float> target,
                          std::size_t row_width,
                          std::span<const CommittedSpan> spans) const;
  absl::Status CheckRequests(std::span<const DraftRequest> requests) const;

  // Makes room for the results of `requests`, none of them there yet.
  void OpenResult(std::span<const DraftRequest> requests,
                  bool confidence,
                  DraftResult* result) const;

  // Begins a step of the ops. The last rows of every span whose entries a ring keeps, and where
  // they stand: `kept_rows` are rows of the target, in the order of the step's.
  void BeginCommit(std::span<const CommittedSpan> spans, std::vector<std::size_t>* kept_rows);
  // `rows` rows a request from `first_position` after its anchor's on, with `tokens` [requests,
  // rows]; see kernels::StepRows for `draft_block`.
  void BeginDraft(std::span<const DraftRequest> requests,
                  std::int64_t first_position,
                  int rows,
                  std::span<const Token> tokens,
                  bool draft_block);
  const kernels::StepRows& step() const { return step_; }

  // The step's streams through a stage.
  absl::Status RunStage(int stage, DraftResult* result);

  // Draws draft `draft` of every request of its logits [requests, share]: `tokens` [requests].
  absl::Status Draw(std::span<const DraftRequest> requests,
                    int draft,
                    std::span<const float> logits,
                    std::span<Token> tokens,
                    DraftResult* result);

  // Gathers the logits [block, requests, share] of requests that keep them into the result.
  absl::Status GatherLogits(std::span<const DraftRequest> requests,
                            std::span<const float> logits,
                            DraftResult* result);

 private:
  bool alone() const { return communicator_ == nullptr || communicator_->size() == 1; }
  void LocalMaxima(std::span<const DraftRequest> requests,
                   int draft,
                   std::span<const float> logits);

  DraftParts parts_;
  weights::ModelShape shape_;
  weights::RankShare rank_share_;
  model::DraftLayout layout_;
  model::ExecutionParts execution_;
  collective::Communicator* communicator_;
  Token first_token_ = 0;  // of this rank's share of the vocabulary
  kernels::StepRows step_;
  std::vector<NoisyMaximum> tile_maxima_;
  std::vector<NoisyMaximum> maxima_;  // [requests] of this rank
};

}  // namespace sparkspan::engine::draft
