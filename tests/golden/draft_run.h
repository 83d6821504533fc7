#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/cache/kv_pool.h"
#include "engine/collective/communicator.h"
#include "engine/draft/make_drafter.h"
#include "engine/model/model.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/rank_weights.h"
#include "tests/golden_tensors.h"

// Runs sequences of the golden data through a model and its drafter.
namespace sparkspan::tests {

struct DraftSet {
  std::shared_ptr<const engine::weights::Checkpoint> checkpoint;
  std::shared_ptr<const GoldenTensors> vectors;

  // One round of greedy speculative decoding.
  struct Round {
    std::int64_t anchor_position = 0;
    std::vector<engine::Token> drafts;
    std::int64_t accepted = 0;
  };
  struct Prompt {
    std::int64_t length = 0;
    std::vector<engine::Token> sequence;  // the prompt, then the greedy continuation
    std::vector<Round> trace;
  };
  std::map<std::string, Prompt> prompts;

  std::size_t vocabulary() const {
    return static_cast<std::size_t>(checkpoint->shape().vocabulary);
  }
};

DraftSet LoadDraftSet(const std::filesystem::path& folder);

// One rank's model and drafter, with what they know of one sequence.
class DraftingRank {
 public:
  struct Options {
    engine::model::ModelOptions model;
    bool experts_whole = false;
    int mtp_block = 1;
    std::int64_t length_max = 512;
  };

  // A communicator of null: a single rank. Throws what is wrong.
  DraftingRank(const engine::weights::Checkpoint& checkpoint,
               const Options& options,
               engine::collective::Communicator* communicator);

  engine::draft::Drafter& drafter() { return *drafter_; }
  std::vector<std::byte>& draft_state() { return draft_state_; }
  const engine::model::ForwardResult& forward() const { return forward_; }

  // Runs tokens from `position` on through the target; logits of every row.
  void Run(std::int64_t position, std::span<const engine::Token> tokens);
  // Commits the first `rows` of what was run.
  void Commit(std::int64_t position, std::span<const engine::Token> next_tokens);
  // Greedy, with logits kept.
  engine::draft::DraftResult Draft(std::int64_t anchor_position, engine::Token anchor);
  // Runs and commits sequence[begin, end) in steps of at most `chunk`.
  void Prefill(std::span<const engine::Token> sequence,
               std::int64_t begin,
               std::int64_t end,
               std::int64_t chunk);

 private:
  std::unique_ptr<engine::model::Model> model_;
  std::unique_ptr<engine::draft::Drafter> drafter_;
  std::unique_ptr<engine::cache::KvPool> pool_;
  std::unique_ptr<engine::cache::SequenceState> state_;
  std::vector<std::byte> draft_state_;
  std::vector<std::int32_t> table_;
  engine::model::ForwardResult forward_;
};

}  // namespace sparkspan::tests
