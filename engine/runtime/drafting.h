#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/ids.h"
#include "engine/draft/drafter.h"
#include "engine/model/model.h"
#include "engine/runtime/plan.h"

namespace sparkspan::engine::runtime {

// Rows of one sequence that a step ran and that stand, and whether drafts are to follow them.
struct CommittedRows {
  std::size_t slot = 0;             // of the sequence's draft state
  std::int64_t first_position = 0;  // absolute
  std::int64_t first_row = 0;       // of the step's rows
  std::span<const Token> tokens;    // not empty
  std::optional<Token> following;   // the token chosen after them; none inside a prompt
  const SamplingParams* propose_with = nullptr;  // null: no drafts; else `following` is there
};

struct Proposal {
  std::vector<Token> tokens;
  std::vector<float> confidence;  // [tokens] raw logits, or empty
  std::vector<float> logits;      // [tokens, vocabulary] that they were drawn of; rejection only
};

// The drafter's side of an executor: the draft states of its sequences, and what a drafter is told
// after each step. One thread at a time.
class Drafting {
 public:
  Drafting(std::unique_ptr<draft::Drafter> drafter, std::int32_t sequences_max);

  int block() const { return drafter_->block(); }
  // Bytes of all draft states, and of a step's activations.
  std::int64_t state_bytes() const { return static_cast<std::int64_t>(states_.size()); }
  std::int64_t ActivationBytes(std::int64_t rows) const;

  // What the target's step must keep for the drafter.
  void AskOf(model::ForwardOptions* options) const;

  // A new sequence in this slot: nothing is committed.
  void Open(std::size_t slot);

  // Takes the step's rows into the drafter's context, then drafts where it is asked to:
  // `proposals` are those of the rows with propose_with, in order. A collective.
  absl::Status Run(const model::ForwardResult& target,
                   std::span<const CommittedRows> rows,
                   std::vector<Proposal>* proposals);

 private:
  // The last row of a prompt's chunk, for a drafter that pairs each row with the token after it.
  struct HeldBack {
    std::int64_t position = 0;
    std::vector<float> streams;  // [streams, hidden]
  };

  std::span<std::byte> state(std::size_t slot);
  absl::Status CommitHeldBack(std::span<const CommittedRows> rows);
  absl::Status Commit(const model::ForwardResult& target, std::span<const CommittedRows> rows);
  absl::Status Propose(std::span<const CommittedRows> rows, std::vector<Proposal>* proposals);

  std::unique_ptr<draft::Drafter> drafter_;
  std::size_t sequences_max_;
  std::vector<std::byte> states_;                   // [sequences_max, state_bytes]
  std::vector<std::optional<HeldBack>> held_back_;  // [sequences_max]
  // Of the step in progress; kept for their memory.
  std::vector<std::vector<Token>> next_tokens_;
  draft::DraftResult drafted_;
};

}  // namespace sparkspan::engine::runtime
