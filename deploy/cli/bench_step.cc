#include "deploy/cli/bench_step.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/hash.h"
#include "engine/base/status.h"
#include "engine/model/bind_weights.h"
#include "engine/runtime/embedded_cluster.h"
#include "engine/runtime/plan_codec.h"
#include "engine/schedule/scheduler.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/rank_weights.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::Time;
using engine::runtime::EmbeddedCluster;
using engine::schedule::Scheduler;
using Seconds = std::chrono::duration<double>;

// For loading, and for one step, on a machine much slower than any that this is meant for.
constexpr std::chrono::minutes kPatience{30};
constexpr int kWarmupSteps = 2;
constexpr int kStepsPerPass = 4;
constexpr engine::Epoch kEpoch{1};

// What the ranks say while they load; called on their threads.
class LoadLog {
 public:
  void Add(const engine::weights::LoadReport& report, double bind_s) {
    const std::lock_guard lock(mutex_);
    times_.open_s = std::max(times_.open_s, report.open_seconds);
    times_.plan_s = std::max(times_.plan_s, report.plan_seconds);
    times_.read_s = std::max(times_.read_s, report.read_seconds);
    times_.check_s = std::max(times_.check_s, report.check_seconds);
    times_.bind_s = std::max(times_.bind_s, bind_s);
    times_.read_bytes += static_cast<std::int64_t>(report.read.bytes);
  }
  LoadTimes times() const {
    const std::lock_guard lock(mutex_);
    return times_;
  }

 private:
  mutable std::mutex mutex_;
  LoadTimes times_;
};

struct OneStep {
  std::int64_t rows = 0;
  bool has_token = false;
  double total_s = 0.0;
  double forward_s = 0.0;
  double sample_s = 0.0;
};

// A cluster and who plans for it.
class Driver {
 public:
  static absl::StatusOr<std::unique_ptr<Driver>> Create(
      const BenchOptions& options,
      std::int64_t context_max,
      std::shared_ptr<const engine::weights::Checkpoint> checkpoint,
      LoadLog* log) {
    const std::int32_t blocks = engine::cache::KvPool::BlocksFor(context_max);
    engine::runtime::EmbeddedClusterOptions cluster;
    cluster.ranks = options.ranks;
    cluster.epoch = kEpoch;
    cluster.executor = {.kv_blocks = blocks, .sequences_max = 1, .step_rows_max = options.prefill};
    cluster.load = [checkpoint, log, threads = options.threads, ranks = options.ranks](
                       engine::Rank rank, engine::collective::Communicator* communicator)
        -> absl::StatusOr<std::unique_ptr<engine::model::Model>> {
      engine::model::ModelOptions model;
      model.threads = threads;
      const engine::weights::RankShare share{
          .rank = rank.value(),
          .ranks = ranks,
          .width_unit = engine::weights::WidthUnitOf(model.numerics)};
      ASSIGN_OR_RETURN(const auto loaded, engine::weights::LoadRank(*checkpoint, share));
      const engine::SteadyClock clock;
      const Time began = clock.Now();
      ASSIGN_OR_RETURN(
          auto bound,
          engine::model::Model::Create(engine::model::BindWeights(*loaded), model, communicator));
      log->Add(loaded->report(), Seconds(clock.Now() - began).count());
      return bound;
    };
    auto driver = std::unique_ptr<Driver>(new Driver());
    ASSIGN_OR_RETURN(driver->cluster_,
                     EmbeddedCluster::Create(std::move(cluster), driver->clock_.Now() + kPatience));
    ASSIGN_OR_RETURN(driver->scheduler_,
                     Scheduler::Create({.kv_blocks = blocks,
                                        .running_max = 1,
                                        .step_rows_max = options.prefill,
                                        .context_tokens_max = context_max,
                                        .epoch = kEpoch}));
    return driver;
  }

  // The next request: `prompt` tokens, then `answer` that are chosen.
  absl::Status Admit(std::int64_t prompt, std::int64_t answer, std::uint64_t seed) {
    engine::schedule::Request request;
    const auto vocabulary = static_cast<std::uint64_t>(cluster_->Shape().vocabulary);
    for (std::int64_t i = 0; i < prompt; ++i) {
      const std::uint64_t draw = engine::CombineHash(seed, static_cast<std::uint64_t>(i));
      request.prompt.push_back(static_cast<engine::Token>(draw % vocabulary));
    }
    request.sampling.seed = seed;
    request.max_tokens = answer;
    request.arrival = clock_.Now();
    return scheduler_->Admit(std::move(request), clock_.Now()).status();
  }

  bool HasWork() const { return scheduler_->HasWork(); }

  absl::StatusOr<OneStep> Step() {
    const Time began = clock_.Now();
    const engine::runtime::StepPlan plan = scheduler_->Plan(began);
    ASSIGN_OR_RETURN(const engine::runtime::StepPlan arrived,
                     engine::runtime::DecodePlan(engine::runtime::EncodePlan(plan)));
    RETURN_IF_ERROR(cluster_->Submit(arrived));
    ASSIGN_OR_RETURN(const engine::runtime::StepResult agreed,
                     cluster_->Collect(clock_.Now() + kPatience));
    ASSIGN_OR_RETURN(const engine::runtime::StepResult result,
                     engine::runtime::DecodeResult(engine::runtime::EncodeResult(agreed)));
    ASSIGN_OR_RETURN(const auto events, scheduler_->Absorb(result));
    OneStep step;
    step.total_s = Seconds(clock_.Now() - began).count();
    step.forward_s = static_cast<double>(result.times.forward_ns) * 1e-9;
    step.sample_s = static_cast<double>(result.times.sample_ns) * 1e-9;
    step.has_token = !events.empty() && !events[0].tokens.empty();
    for (const engine::runtime::RowSpan& span : plan.spans) {
      const auto* tokens = std::get_if<std::vector<engine::Token>>(&span.tokens);
      step.rows += tokens == nullptr ? 1 : static_cast<std::int64_t>(tokens->size());
    }
    return step;
  }

  // Of a decoded token at each of `count` positions from `first` on, the mean; all ranks together.
  WeightTraffic MeanTraffic(std::int64_t first, std::int64_t count) {
    WeightTraffic sum;
    for (std::int32_t rank = 0; rank < cluster_->Shape().ranks; ++rank) {
      const engine::model::ModelParts& parts =
          cluster_->executor(engine::Rank(rank)).model().parts();
      for (std::int64_t position = first; position < first + count; ++position) {
        sum += WeightTrafficOf(parts, position);
      }
    }
    return sum.Over(static_cast<double>(count));
  }

 private:
  Driver() = default;

  engine::SteadyClock clock_;
  std::unique_ptr<EmbeddedCluster> cluster_;
  std::optional<Scheduler> scheduler_;
};

// Runs what was admitted to its end; seconds of all steps with rows.
absl::StatusOr<double> RunToEnd(Driver& driver) {
  double seconds = 0.0;
  while (driver.HasWork()) {
    ASSIGN_OR_RETURN(const OneStep step, driver.Step());
    seconds += step.rows > 0 ? step.total_s : 0.0;
  }
  return seconds;
}

// Between the steps memory is read: whatever else the machine does meets both.
absl::Status TimeDecode(const BenchOptions& options,
                        Driver& driver,
                        ReadBandwidth& bandwidth,
                        StepTimes* times) {
  RETURN_IF_ERROR(
      driver.Admit(options.context, options.steps + kWarmupSteps + 1, options.seed + 2));
  std::int64_t decoded = -kWarmupSteps;
  bool prefilled = false;
  while (driver.HasWork()) {
    ASSIGN_OR_RETURN(const OneStep step, driver.Step());
    if (!prefilled || step.rows == 0) {
      prefilled = prefilled || step.has_token;
      continue;
    }
    if (decoded++ < 0) {
      continue;
    }
    times->decode_s.push_back(step.total_s);
    times->forward_s.push_back(step.forward_s);
    times->sample_s.push_back(step.sample_s);
    if (decoded % kStepsPerPass == 0 || decoded == options.steps) {
      times->bandwidth.push_back(bandwidth.Pass());
    }
  }
  times->traffic = driver.MeanTraffic(options.context + kWarmupSteps, options.steps);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StepTimes> TimeSteps(const BenchOptions& options,
                                    const std::filesystem::path& checkpoint,
                                    ReadBandwidth& bandwidth) {
  ASSIGN_OR_RETURN(const auto opened, engine::weights::Checkpoint::Open(checkpoint));
  const int ranks_max = engine::weights::RanksMax(opened->shape());
  if (options.ranks > ranks_max) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--ranks %d: a model of these --bytes runs on 1 to %d ranks", options.ranks, ranks_max));
  }
  // A short prompt and two tokens, since the first steps also take memory for the first time.
  const std::int64_t first_prompt = std::min<std::int64_t>(options.prefill, 16);
  const std::int64_t context_max = std::max(
      {first_prompt + 2, options.prefill + 1, options.context + options.steps + kWarmupSteps + 1});
  LoadLog log;
  ASSIGN_OR_RETURN(const auto driver, Driver::Create(options, context_max, opened, &log));
  StepTimes times;
  times.load = log.times();
  RETURN_IF_ERROR(driver->Admit(first_prompt, 2, options.seed));
  RETURN_IF_ERROR(RunToEnd(*driver).status());
  RETURN_IF_ERROR(driver->Admit(options.prefill, 1, options.seed + 1));
  ASSIGN_OR_RETURN(times.prefill_s, RunToEnd(*driver));
  RETURN_IF_ERROR(TimeDecode(options, *driver, bandwidth, &times));
  return times;
}

}  // namespace sparkspan::deploy::cli
