#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/draft/drafter.h"

namespace sparkspan::engine::draft {

// A drafter whose tokens a script decides: an oracle that knows the text, or one that goes wrong at
// a chosen place. For tests and benchmarks of what follows drafting. The drafter inside, if any,
// works as ever and costs what it costs; what it drafted is replaced. Only for requests without a
// temperature: a scripted token was drawn of no distribution.
class ScriptedDrafter final : public Drafter {
 public:
  // Writes the block's tokens, those at anchor_position + 1 and on, and their confidence, raw
  // logits. They hold the inner drafter's; without one, or where it has no confidence, zeros. Must
  // be a function of the request: ranks call it each for itself.
  using Script = std::function<void(
      const DraftRequest& request, std::span<Token> tokens, std::span<float> confidence)>;

  // With drafts of `block` tokens and no drafter inside.
  ScriptedDrafter(int block, Script script);
  ScriptedDrafter(std::unique_ptr<Drafter> inner, Script script);

  DrafterKind kind() const override;
  int block() const override { return block_; }
  std::span<const int> taps() const override;
  bool needs_streams() const override;
  std::int64_t state_bytes() const override;
  std::int64_t ActivationBytes(std::int64_t rows, std::int64_t requests) const override;
  absl::Status Commit(const TargetRows& target, std::span<const CommittedSpan> spans) override;
  absl::Status Draft(std::span<const DraftRequest> requests, DraftResult* result) override;

 private:
  int block_;
  std::unique_ptr<Drafter> inner_;  // or null
  Script script_;
};

}  // namespace sparkspan::engine::draft
