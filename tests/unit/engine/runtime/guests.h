#pragma once

#include <map>
#include <vector>

#include "engine/runtime/cluster.h"
#include "engine/runtime/plan.h"

// Sequences that share the steps of a cluster, with plans made by hand: what the scheduler would
// never do (chunks of one row, any order) must change nothing either.
namespace sparkspan::engine::runtime {

struct Guest {
  SequenceId id;
  std::vector<Token> prompt;
  SamplingParams sampling;
  std::size_t chunk = 1 << 20;  // rows of the prompt per step
  int arrives = 0;              // the step it joins at
  std::size_t max_tokens = 1;   // after which it leaves
};

class GuestHouse {
 public:
  GuestHouse(Cluster* cluster, std::vector<Guest> guests);

  // The next plan; without spans once all have left.
  StepPlan Plan();

  // Submits it and waits for the agreed result, which it books.
  absl::StatusOr<StepResult> Step(const StepPlan& plan);

  // Until all have left; CHECKs that every step is OK.
  void RunAll();

  bool done() const { return left_ == guests_.size(); }
  const std::vector<CommittedToken>& tokens(SequenceId id) const { return tokens_.at(id); }

 private:
  struct Stay {
    std::size_t rows = 0;  // run so far
    std::vector<std::int32_t> blocks;
    bool open = false;
    bool left = false;
  };

  void PlanGuest(std::size_t index, StepPlan* plan);

  Cluster* cluster_;
  std::vector<Guest> guests_;
  std::vector<Stay> stays_;
  std::vector<std::int32_t> free_blocks_;
  std::map<SequenceId, std::vector<CommittedToken>> tokens_;
  int step_ = 0;
  std::size_t left_ = 0;
};

}  // namespace sparkspan::engine::runtime
