#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/draft/drafter.h"
#include "engine/draft/stage_runner.h"

namespace sparkspan::engine::draft {

// Drafts the token after the next: one causal block over pairs of a position's final streams and
// the token that follows it (arXiv 2412.19437, 2.2). More drafts are made of the block's own
// streams. Per draft two exchanges and one of (score, token), and one more per pass where logits
// are kept.
class MtpDrafter final : public Drafter {
 public:
  explicit MtpDrafter(StageRunner runner) : runner_(std::move(runner)) {}

  DrafterKind kind() const override { return DrafterKind::kMtp; }
  int block() const override { return runner_.layout().block; }
  std::span<const int> taps() const override { return {}; }
  bool needs_streams() const override { return true; }
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
  std::vector<float> streams_;  // [rows, streams, hidden]
  std::vector<float> logits_;   // [block, requests, share]
};

}  // namespace sparkspan::engine::draft
