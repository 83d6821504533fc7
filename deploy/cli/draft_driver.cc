#include "deploy/cli/draft_driver.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/cache/kv_pool.h"
#include "engine/calibrate/measure_step_costs.h"
#include "engine/draft/make_drafter.h"
#include "engine/draft/scripted_drafter.h"
#include "engine/model/bind_weights.h"
#include "engine/runtime/plan_codec.h"
#include "engine/weights/rank_weights.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::runtime::RankModel;
using engine::runtime::StepPlan;
using engine::runtime::StepResult;
using engine::schedule::Scheduler;
using engine::schedule::VerificationPolicy;
using Seconds = std::chrono::duration<double>;

constexpr std::chrono::minutes kPatience{10};
constexpr std::int64_t kRowsMin = 256;
constexpr float kCertain = 20.0f;  // of an oracle, as a logit

std::int64_t RowsMax(const DraftDriverOptions& options, int block) {
  return std::max<std::int64_t>(kRowsMin, std::int64_t{options.sequences} * (1 + block));
}

// Takes the drafts from texts; a request's number is its seed less 1, that of a measurement 0.
engine::draft::ScriptedDrafter::Script OracleOf(const DraftDriverOptions& options) {
  return [texts = options.oracle](const engine::draft::DraftRequest& request,
                                  std::span<engine::Token> tokens,
                                  std::span<float> confidence) {
    if (request.seed == 0 || request.seed > texts->size()) {
      return;
    }
    const std::vector<engine::Token>& text = (*texts)[static_cast<std::size_t>(request.seed - 1)];
    const auto first = static_cast<std::size_t>(request.anchor_position) + 1;
    for (std::size_t i = 0; i < tokens.size() && first + i < text.size(); ++i) {
      tokens[i] = text[first + i];
      confidence[i] = kCertain;
    }
  };
}

absl::StatusOr<RankModel> LoadRankModel(const engine::weights::Checkpoint& checkpoint,
                                        const DraftDriverOptions& options,
                                        engine::Rank rank,
                                        engine::collective::Communicator* communicator) {
  engine::model::ModelOptions model;
  model.threads = options.threads;
  const engine::draft::DrafterOptions drafting{
      .kind = options.drafts ? engine::draft::KindOf(checkpoint.shape())
                             : engine::draft::DrafterKind::kNone};
  const int block = engine::draft::BlockOf(checkpoint.shape(), drafting.kind);
  model.rewind_rows_max = block == 0 ? 0 : block + 1;
  const engine::weights::RankShare share{
      .rank = rank.value(),
      .ranks = options.ranks,
      .width_unit = engine::weights::WidthUnitOf(model.numerics)};
  ASSIGN_OR_RETURN(const auto loaded,
                   engine::weights::LoadRank(checkpoint, share, {.draft = options.drafts}));
  RankModel made;
  ASSIGN_OR_RETURN(
      made.model,
      engine::model::Model::Create(engine::model::BindWeights(*loaded), model, communicator));
  ASSIGN_OR_RETURN(made.drafter,
                   engine::draft::MakeDrafter(*loaded, drafting, model, communicator));
  if (made.drafter != nullptr && options.oracle != nullptr) {
    made.drafter = std::make_unique<engine::draft::ScriptedDrafter>(std::move(made.drafter),
                                                                    OracleOf(options));
  }
  return made;
}

bool IsDecode(const StepPlan& plan) {
  return !plan.spans.empty() &&
         std::all_of(plan.spans.begin(), plan.spans.end(), [](const auto& span) {
           return std::holds_alternative<engine::runtime::LastCommitted>(span.tokens);
         });
}

}  // namespace

absl::StatusOr<std::unique_ptr<DraftDriver>> DraftDriver::Create(
    std::shared_ptr<const engine::weights::Checkpoint> checkpoint,
    const DraftDriverOptions& options) {
  const int block =
      engine::draft::BlockOf(checkpoint->shape(), engine::draft::KindOf(checkpoint->shape()));
  auto driver = std::unique_ptr<DraftDriver>(new DraftDriver(options));
  engine::runtime::EmbeddedClusterOptions cluster;
  cluster.ranks = options.ranks;
  cluster.epoch = driver->epoch_;
  cluster.executor = {.kv_blocks = options.sequences *
                                   engine::cache::KvPool::BlocksFor(options.length_max + block + 1),
                      .sequences_max = options.sequences,
                      .step_rows_max = RowsMax(options, block)};
  cluster.load = [checkpoint, options](engine::Rank rank,
                                       engine::collective::Communicator* communicator) {
    return LoadRankModel(*checkpoint, options, rank, communicator);
  };
  ASSIGN_OR_RETURN(driver->cluster_,
                   engine::runtime::EmbeddedCluster::Create(std::move(cluster),
                                                            driver->clock_.Now() + kPatience));
  return driver;
}

absl::Status DraftDriver::NextEpoch() {
  epoch_ = engine::Epoch(epoch_.value() + 1);
  return cluster_->Reform(epoch_, clock_.Now() + kPatience);
}

absl::Status DraftDriver::MeasureCosts() {
  RETURN_IF_ERROR(NextEpoch());
  ASSIGN_OR_RETURN(costs_,
                   engine::calibrate::MeasureStepCosts(
                       *cluster_, epoch_, options_.sequences, clock_.Now() + kPatience));
  return absl::OkStatus();
}

absl::Status DraftDriver::Step(Scheduler& scheduler,
                               std::span<const engine::SequenceId> ids,
                               ServedFigures* figures) {
  const engine::Time began = clock_.Now();
  const StepPlan plan = scheduler.Plan(began);
  ASSIGN_OR_RETURN(const StepPlan arrived,
                   engine::runtime::DecodePlan(engine::runtime::EncodePlan(plan)));
  RETURN_IF_ERROR(cluster_->Submit(arrived));
  ASSIGN_OR_RETURN(const StepResult agreed, cluster_->Collect(clock_.Now() + kPatience));
  ASSIGN_OR_RETURN(const StepResult result,
                   engine::runtime::DecodeResult(engine::runtime::EncodeResult(agreed)));
  ASSIGN_OR_RETURN(const auto events, scheduler.Absorb(result));
  const double seconds = Seconds(clock_.Now() - began).count();
  std::int64_t tokens = 0;
  for (const engine::schedule::TokenEvent& event : events) {
    tokens += static_cast<std::int64_t>(event.tokens.size());
    const auto index =
        static_cast<std::size_t>(std::find(ids.begin(), ids.end(), event.sequence) - ids.begin());
    for (const engine::runtime::CommittedToken& token : event.tokens) {
      figures->texts[index].push_back(token.token);
    }
  }
  figures->seconds += seconds;
  figures->tokens += tokens;
  if (IsDecode(plan)) {
    figures->decode_seconds += seconds;
    figures->decode_tokens += tokens;
    ++figures->decode_steps;
    figures->draft_ms += static_cast<double>(result.times.draft_ns) * 1e-6;
    figures->verify_ms += static_cast<double>(result.times.total_ns - result.times.draft_ns) * 1e-6;
  }
  return absl::OkStatus();
}

absl::StatusOr<ServedFigures> DraftDriver::Serve(std::span<const DraftBenchRequest> requests,
                                                 std::uint64_t first,
                                                 int together,
                                                 VerificationPolicy policy) {
  RETURN_IF_ERROR(NextEpoch());
  const engine::runtime::ClusterShape shape = cluster_->Shape();
  engine::schedule::SchedulerOptions planning;
  planning.kv_blocks = shape.kv_blocks;
  planning.running_max = together;
  planning.waiting_max = static_cast<std::int32_t>(requests.size());
  planning.step_rows_max = shape.step_rows_max;
  planning.context_tokens_max = options_.length_max;
  planning.draft_tokens_max = shape.draft_tokens_max;
  planning.verification = policy;
  planning.epoch = epoch_;
  ASSIGN_OR_RETURN(Scheduler scheduler, Scheduler::Create(planning));
  scheduler.SetStepCosts(costs_);
  ServedFigures figures;
  figures.texts.resize(requests.size());
  std::vector<engine::SequenceId> ids;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    engine::schedule::Request request;
    request.prompt = requests[i].prompt;
    request.max_tokens = requests[i].max_tokens;
    request.end_tokens = requests[i].end_tokens;
    request.sampling.temperature = 0;
    request.sampling.seed = first + i + 1;
    ASSIGN_OR_RETURN(const engine::SequenceId id,
                     scheduler.Admit(std::move(request), clock_.Now()));
    ids.push_back(id);
  }
  while (scheduler.HasWork()) {
    RETURN_IF_ERROR(Step(scheduler, ids, &figures));
  }
  if (figures.decode_steps > 0) {
    figures.draft_ms /= static_cast<double>(figures.decode_steps);
    figures.verify_ms /= static_cast<double>(figures.decode_steps);
  }
  return figures;
}

}  // namespace sparkspan::deploy::cli
