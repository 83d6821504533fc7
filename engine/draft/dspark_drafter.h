#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/draft/drafter.h"
#include "engine/draft/stage_runner.h"

namespace sparkspan::engine::draft {

// Drafts a block at once: all its rows, unknown tokens as noise, run through the stages and see
// each other and the context; then a bigram correction picks the tokens from left to right
// (arXiv 2607.05147). The context is the taps of committed rows, projected into every stage's ring;
// per draft pass two exchanges a stage and one of (score, token) a draft, and one more where logits
// are kept.
class DsparkDrafter final : public Drafter {
 public:
  explicit DsparkDrafter(StageRunner runner) : runner_(std::move(runner)) {}

  DrafterKind kind() const override { return DrafterKind::kDspark; }
  int block() const override { return runner_.layout().block; }
  std::span<const int> taps() const override { return runner_.shape().dspark->target_layers; }
  bool needs_streams() const override { return false; }
  std::int64_t state_bytes() const override { return runner_.layout().state_bytes; }
  std::int64_t ActivationBytes(std::int64_t rows, std::int64_t requests) const override {
    return runner_.ActivationBytes(rows, requests);
  }
  absl::Status Commit(const TargetRows& target, std::span<const CommittedSpan> spans) override;
  absl::Status Draft(std::span<const DraftRequest> requests, DraftResult* result) override;

 private:
  StageRunner runner_;
  // Of the call in progress; kept for their memory.
  std::vector<std::size_t> kept_rows_;
  std::vector<float> taps_;
  std::vector<float> logits_;     // [block, requests, share]
  std::vector<float> collapsed_;  // [block, requests, hidden]
};

}  // namespace sparkspan::engine::draft
