#include "engine/calibrate/measure_step_costs.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/base/status.h"

namespace sparkspan::engine::calibrate {
namespace {

using runtime::RowSpan;
using runtime::StepPlan;
using runtime::StepResult;
using schedule::CostPoint;
using schedule::StepCosts;

// Short: a decode step's cost hardly depends on it, and a sequence stays within one KV block.
constexpr std::int64_t kPromptTokens = 8;
constexpr int kRepeats = 3;
constexpr std::int64_t kPrefillRowsMax = 256;

// Runs plans that no request asked for.
class Probe {
 public:
  Probe(runtime::Cluster& cluster, Epoch epoch, Time deadline)
      : cluster_(cluster), shape_(cluster.Shape()), deadline_(deadline) {
    plan_.epoch = epoch;
  }

  const runtime::ClusterShape& shape() const { return shape_; }
  bool has_time() const { return spent_ < kBudget; }

  // Closes what is open and opens sequences with prompts, one KV block each.
  absl::StatusOr<StepResult> Open(std::int64_t sequences, std::int64_t prompt_tokens) {
    plan_.close = std::exchange(open_, {});
    for (std::int64_t i = 0; i < sequences; ++i) {
      const SequenceId id(++last_sequence_);
      open_.push_back(id);
      plan_.open.push_back({id, {}, prompt_tokens});
      plan_.open.back().sampling.temperature = 0;
      plan_.grants.push_back({id, {static_cast<std::int32_t>(i)}});
      RowSpan span;
      span.sequence = id;
      span.tokens = Tokens(prompt_tokens);
      span.sample = true;
      span.propose = true;
      plan_.spans.push_back(std::move(span));
    }
    return Run();
  }

  absl::StatusOr<StepResult> Decode(std::int32_t drafts) {
    for (const SequenceId id : open_) {
      RowSpan span;
      span.sequence = id;
      span.first_position = runtime::kSequenceEnd;
      span.tokens = runtime::LastCommitted{};
      span.sample = true;
      span.draft_tokens_max = drafts;
      span.propose = true;
      plan_.spans.push_back(std::move(span));
    }
    return Run();
  }

 private:
  // Different ones, as they are routed to different experts.
  std::vector<Token> Tokens(std::int64_t count) {
    std::vector<Token> tokens;
    for (std::int64_t i = 0; i < count; ++i) {
      next_token_ = (next_token_ + 7919) % shape_.vocabulary;
      tokens.push_back(static_cast<Token>(next_token_));
    }
    return tokens;
  }

  absl::StatusOr<StepResult> Run() {
    plan_.step = Step(plan_.step.value() + 1);
    const absl::Status submitted = cluster_.Submit(plan_);
    plan_.close.clear();
    plan_.open.clear();
    plan_.grants.clear();
    plan_.spans.clear();
    RETURN_IF_ERROR(submitted);
    absl::StatusOr<StepResult> result = cluster_.Collect(deadline_);
    if (result.ok()) {
      spent_ += std::chrono::nanoseconds(result->times.total_ns);
    }
    return result;
  }

  runtime::Cluster& cluster_;
  const runtime::ClusterShape shape_;
  const Time deadline_;
  StepPlan plan_;  // the next one, in the making
  std::vector<SequenceId> open_;
  std::uint64_t last_sequence_ = 0;
  std::int64_t next_token_ = 0;
  Duration spent_{0};
};

double Microseconds(std::int64_t ns) {
  return static_cast<double>(ns) * 1e-3;
}

// What repeats measured least: interruptions only ever add.
class Least {
 public:
  void Add(const StepResult& result) {
    rows_ = std::min(rows_, Microseconds(result.times.total_ns - result.times.draft_ns));
    drafts_ = std::min(drafts_, Microseconds(result.times.draft_ns));
  }
  double rows() const { return rows_; }
  double drafts() const { return drafts_; }

 private:
  double rows_ = 1e300;
  double drafts_ = 1e300;
};

}  // namespace

absl::StatusOr<StepCosts> MeasureStepCosts(runtime::Cluster& cluster,
                                           Epoch epoch,
                                           std::int32_t sequences_max,
                                           Time deadline) {
  Probe probe(cluster, epoch, deadline);
  const runtime::ClusterShape& shape = probe.shape();
  const std::int32_t block = shape.draft_tokens_max;
  const std::int64_t most = std::min<std::int64_t>(
      {sequences_max, shape.sequences_max, shape.kv_blocks, shape.step_rows_max / (1 + block)});
  std::vector<CostPoint> rows;
  std::vector<CostPoint> drafts;
  for (std::int64_t sequences = 1; sequences <= most && (sequences == 1 || probe.has_time());
       sequences = sequences < most ? std::min(most, sequences * 2) : most + 1) {
    const std::int64_t prompt = std::min(kPromptTokens, shape.step_rows_max / sequences);
    RETURN_IF_ERROR(probe.Open(sequences, prompt).status());
    for (const std::int32_t verified : {0, block / 2, block}) {
      Least least;
      for (int i = 0; i < kRepeats; ++i) {
        ASSIGN_OR_RETURN(const StepResult result, probe.Decode(verified));
        least.Add(result);
      }
      rows.push_back({sequences * (1 + verified), least.rows()});
      drafts.push_back({sequences, least.drafts()});
    }
  }
  if (drafts.back().size == 1) {
    // Not measured for two: at worst each sequence costs as much as the first.
    drafts.push_back({2, 2 * drafts.back().microseconds});
  }
  const std::int64_t prefill = std::min(kPrefillRowsMax, shape.step_rows_max);
  if (prefill > most * (1 + block) && probe.has_time()) {
    Least least;
    for (int i = 0; i < 2; ++i) {
      ASSIGN_OR_RETURN(const StepResult result, probe.Open(1, prefill));
      least.Add(result);
    }
    rows.push_back({prefill, least.rows()});
  }
  StepCosts costs;
  ASSIGN_OR_RETURN(costs.rows, schedule::CostCurve::Create(std::move(rows)));
  ASSIGN_OR_RETURN(costs.drafts, schedule::CostCurve::Create(std::move(drafts)));
  return costs;
}

}  // namespace sparkspan::engine::calibrate
