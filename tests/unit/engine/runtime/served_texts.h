#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/collective/communicator.h"
#include "engine/runtime/plan.h"
#include "engine/runtime/rank_model.h"
#include "engine/schedule/scheduler.h"

// Requests served together by the real scheduler on ranks of this process: what the tests of
// drafting compare.
namespace sparkspan::engine::runtime {

struct Asked {
  std::vector<Token> prompt;
  std::int64_t max_tokens = 1;
  SamplingParams sampling;
};

struct Serving {
  int ranks = 1;
  schedule::VerificationPolicy policy = schedule::VerificationPolicy::kNone;
  std::function<absl::StatusOr<RankModel>(Rank, collective::Communicator*)> load;
  std::int32_t running_max = 5;
  int steps_between = 3;  // from one request's admission to the next's
};

using Texts = std::vector<std::vector<CommittedToken>>;

// [asked] the tokens of each. Fails the test on any error.
Texts ServeTexts(const std::vector<Asked>& asked,
                 const Serving& serving,
                 schedule::ScheduleStats* stats = nullptr);

}  // namespace sparkspan::engine::runtime
