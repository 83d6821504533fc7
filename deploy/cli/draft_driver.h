#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/runtime/embedded_cluster.h"
#include "engine/schedule/scheduler.h"
#include "engine/schedule/step_cost.h"
#include "engine/weights/checkpoint.h"

namespace sparkspan::deploy::cli {

struct DraftBenchRequest {
  std::vector<engine::Token> prompt;
  std::int64_t max_tokens = 1;
  std::vector<engine::Token> end_tokens;
};

// What serving some requests took. A decode step has no prefill rows.
struct ServedFigures {
  double seconds = 0;         // of all steps
  double decode_seconds = 0;  // of decode steps, from planning them to having their tokens
  std::int64_t tokens = 0;    // of all steps
  std::int64_t decode_tokens = 0;
  std::int64_t decode_steps = 0;
  double draft_ms = 0;                            // mean over decode steps, on the slowest rank
  double verify_ms = 0;                           // the same of all that is not drafting
  std::vector<std::vector<engine::Token>> texts;  // [requests]
};

struct DraftDriverOptions {
  int ranks = 1;
  int threads = 1;
  int sequences = 1;
  std::int64_t length_max = 0;  // of a sequence
  // Without: no drafter is loaded.
  bool drafts = false;
  // Prompts with their answers, by the request's number, that drafts are taken from; borrowed, and
  // filled in before they are needed. Null: the drafter's own drafts.
  const std::vector<std::vector<engine::Token>>* oracle = nullptr;
};

// Ranks of this process and who plans for them, as a head and its workers do, save that nothing
// crosses a network: plans and results pass through their wire form.
class DraftDriver {
 public:
  static absl::StatusOr<std::unique_ptr<DraftDriver>> Create(
      std::shared_ptr<const engine::weights::Checkpoint> checkpoint,
      const DraftDriverOptions& options);

  // Measures what steps cost; to be called once before kHardware is used.
  absl::Status MeasureCosts();
  const engine::schedule::StepCosts& costs() const { return costs_; }

  // Serves the requests, `together` at the same time, in order. `first` is the number of the first.
  absl::StatusOr<ServedFigures> Serve(std::span<const DraftBenchRequest> requests,
                                      std::uint64_t first,
                                      int together,
                                      engine::schedule::VerificationPolicy policy);

 private:
  explicit DraftDriver(const DraftDriverOptions& options) : options_(options) {}

  absl::Status NextEpoch();
  absl::Status Step(engine::schedule::Scheduler& scheduler,
                    std::span<const engine::SequenceId> ids,
                    ServedFigures* figures);

  DraftDriverOptions options_;
  engine::SteadyClock clock_;
  std::unique_ptr<engine::runtime::EmbeddedCluster> cluster_;
  engine::Epoch epoch_{1};
  engine::schedule::StepCosts costs_;
};

}  // namespace sparkspan::deploy::cli
