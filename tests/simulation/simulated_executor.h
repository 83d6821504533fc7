#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/runtime/plan.h"

namespace sparkspan::tests {

// The token that follows `history`, whatever was computed beside it: what every answer is judged
// by.
engine::Token TokenAfter(const std::vector<engine::Token>& history);

// A rank's executor without a model: holds what plans say to the letter, as the real one does, so
// that a plan that does not fit the rank's state is an error here too.
class SimulatedExecutor {
 public:
  SimulatedExecutor(engine::Rank rank, std::int32_t kv_blocks, std::int32_t sequences_max)
      : rank_(rank), sequences_max_(sequences_max), owner_(static_cast<std::size_t>(kv_blocks)) {}

  void Reset(engine::Epoch epoch);
  absl::StatusOr<engine::runtime::StepResult> Run(const engine::runtime::StepPlan& plan);

  // The next token that it chooses is wrong, as after a memory fault.
  void CorruptNextToken(bool is_corrupt) { is_corrupt_ = is_corrupt; }

  std::size_t open_sequences() const { return sequences_.size(); }

 private:
  struct Sequence {
    std::vector<engine::Token> history;  // rows that were run
    std::optional<engine::Token> last_committed;
    std::size_t blocks = 0;
  };

  absl::Status Close(engine::SequenceId id);
  absl::Status Open(const engine::runtime::SequenceOpen& open);
  absl::Status Grant(const engine::runtime::BlockGrant& grant);
  absl::Status RunSpan(const engine::runtime::RowSpan& span, engine::runtime::StepResult* result);

  const engine::Rank rank_;
  const std::int32_t sequences_max_;
  std::vector<std::optional<engine::SequenceId>> owner_;  // [kv_blocks]
  std::map<engine::SequenceId, Sequence> sequences_;
  engine::Epoch epoch_;
  engine::Step last_step_;
  bool is_corrupt_ = false;
};

}  // namespace sparkspan::tests
