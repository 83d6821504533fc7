#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/runtime/cluster.h"

namespace sparkspan::head::cluster {

// A cluster without a model: the token at position p of a sequence is kFirstToken + p. Errors come
// where a test asks for them.
class ScriptedCluster final : public engine::runtime::Cluster {
 public:
  static constexpr engine::Token kFirstToken = 1000;

  ScriptedCluster() {
    shape.kv_blocks = 1 << 16;
    shape.kv_block_tokens = 256;
  }

  engine::runtime::ClusterShape Shape() const override { return shape; }

  absl::Status Submit(const engine::runtime::StepPlan& plan) override {
    const std::lock_guard lock(mutex_);
    plans_.push_back(plan);
    in_flight_.push_back(plan);
    return absl::OkStatus();
  }

  absl::StatusOr<engine::runtime::StepResult> Collect(engine::Time) override {
    engine::runtime::StepPlan plan;
    {
      const std::lock_guard lock(mutex_);
      plan = std::move(in_flight_.front());
      in_flight_.pop_front();
    }
    if (before_result) {
      const absl::Status status = before_result(plan);
      if (!status.ok()) {
        return status;
      }
    }
    engine::runtime::StepResult result;
    result.epoch = plan.epoch;
    result.step = plan.step;
    for (const engine::runtime::RowSpan& span : plan.spans) {
      if (!span.sample) {
        continue;
      }
      const auto* literal = std::get_if<std::vector<engine::Token>>(&span.tokens);
      const auto rows = literal == nullptr ? 1 : static_cast<std::int64_t>(literal->size());
      const std::int64_t position = span.first_position + rows;
      engine::runtime::SequenceTokens tokens;
      tokens.sequence = span.sequence;
      tokens.position = position;
      tokens.tokens.push_back({kFirstToken + static_cast<engine::Token>(position), {}, {}});
      // Every draft stands, or none.
      tokens.drafted = span.draft_tokens_max;
      tokens.accepted = accepts_drafts ? tokens.drafted : 0;
      for (std::int32_t i = 1; i <= tokens.accepted; ++i) {
        tokens.tokens.push_back({kFirstToken + static_cast<engine::Token>(position + i), {}, {}});
      }
      tokens.proposed = span.propose ? shape.draft_tokens_max : 0;
      tokens.confidence.assign(static_cast<std::size_t>(tokens.proposed), 3.0f);
      if (span.sequence == faulty) {
        tokens = {.sequence = span.sequence,
                  .position = position,
                  .tokens = {},
                  .drafted = span.draft_tokens_max,
                  .confidence = {},
                  .fault = sampling_fault};
      }
      result.sequences.push_back(std::move(tokens));
    }
    return result;
  }

  absl::Status Watch() override {
    const std::lock_guard lock(mutex_);
    return std::exchange(idle_fault_, absl::OkStatus());
  }

  absl::Status Reform(engine::Epoch next, engine::Time) override {
    const std::lock_guard lock(mutex_);
    epochs_.push_back(next);
    if (!reform_faults_.empty()) {
      absl::Status fault = reform_faults_.front();
      reform_faults_.pop_front();
      return fault;
    }
    return absl::OkStatus();
  }

  engine::Epoch NewestEpoch() const override { return newest_epoch; }

  void FailReforms(std::deque<absl::Status> faults) {
    const std::lock_guard lock(mutex_);
    reform_faults_ = std::move(faults);
  }
  void FailWhenIdle(absl::Status fault) {
    const std::lock_guard lock(mutex_);
    idle_fault_ = std::move(fault);
  }
  std::vector<engine::runtime::StepPlan> plans() const {
    const std::lock_guard lock(mutex_);
    return plans_;
  }
  std::vector<engine::Epoch> epochs() const {
    const std::lock_guard lock(mutex_);
    return epochs_;
  }

  // Set before the loop starts.
  engine::runtime::ClusterShape shape;

  // Runs on the engine's thread while a step is in flight; an error is Collect's. Set before the
  // loop starts.
  std::function<absl::Status(const engine::runtime::StepPlan&)> before_result;
  std::atomic<bool> accepts_drafts{true};
  engine::Epoch newest_epoch;  // that a rank has served. Set before the loop starts
  // For this sequence no token can be chosen. Set before the loop starts.
  std::optional<engine::SequenceId> faulty;
  engine::runtime::SamplingFault sampling_fault = engine::runtime::SamplingFault::kNoTokenAllowed;

 private:
  mutable std::mutex mutex_;
  std::vector<engine::runtime::StepPlan> plans_;
  std::deque<engine::runtime::StepPlan> in_flight_;
  std::vector<engine::Epoch> epochs_;
  std::deque<absl::Status> reform_faults_;
  absl::Status idle_fault_;
};

}  // namespace sparkspan::head::cluster
