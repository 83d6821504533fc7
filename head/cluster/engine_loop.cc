#include "head/cluster/engine_loop.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/calibrate/measure_step_costs.h"

namespace sparkspan::head::cluster {
namespace {

using engine::SequenceId;
using engine::runtime::StepPlan;
using engine::runtime::StepResult;
using engine::schedule::TokenEvent;

constexpr std::chrono::seconds kRateWindow{5};
constexpr double kRequestSecondsWeight = 0.1;
constexpr std::chrono::milliseconds kJudgedFor{200};

// Of the first drafts lately verified: what makes a drafter suspect, and what clears it again.
constexpr double kFirstAcceptanceLeast = 0.5;
constexpr double kFirstAcceptanceRecovered = 0.55;

engine::schedule::Request MakeRequest(api::GenerationRequest request) {
  engine::schedule::Request out;
  out.prompt = std::move(request.prompt);
  out.sampling = std::move(request.sampling);
  out.max_tokens = request.max_tokens;
  out.end_tokens = std::move(request.eos_token_ids);
  out.end_tokens.insert(
      out.end_tokens.end(), request.stop_token_ids.begin(), request.stop_token_ids.end());
  out.priority = request.priority;
  out.arrival = request.arrival;
  return out;
}

absl::Status FaultStatus(engine::runtime::SamplingFault fault) {
  return fault == engine::runtime::SamplingFault::kNoTokenAllowed
             ? absl::InvalidArgumentError(
                   "The request's sampling parameters forbid every token; allow more of them.")
             : absl::DataLossError("the model's logits were not finite");
}

// Ends a stream that the engine gives up.
void EndWith(const absl::Status& why, engine::Time now, api::GenerationStream* stream) {
  api::GenerationEvent event;
  event.time = now;
  api::GenerationFinish finish;
  finish.reason = api::FinishReason::kError;
  finish.error = why;
  event.finish = std::move(finish);
  stream->Push(std::move(event));
}

bool MustMeasure(const engine::schedule::SchedulerOptions& options,
                 const engine::runtime::ClusterShape& shape) {
  return shape.draft_tokens_max > 0 &&
         options.verification == engine::schedule::VerificationPolicy::kHardware;
}

std::int64_t RowsOf(const StepPlan& plan) {
  std::int64_t rows = 0;
  for (const engine::runtime::RowSpan& span : plan.spans) {
    const auto* tokens = std::get_if<std::vector<engine::Token>>(&span.tokens);
    rows +=
        tokens == nullptr ? 1 + span.draft_tokens_max : static_cast<std::int64_t>(tokens->size());
  }
  return rows;
}

}  // namespace

EngineLoop::EngineLoop(EngineLoopOptions options,
                       engine::runtime::Cluster& cluster,
                       const engine::Clock& clock,
                       Driver driver)
    : options_(std::move(options)), cluster_(cluster), clock_(clock), epoch_(options_.first_epoch) {
  status_.detail = why_not_;
  status_.numerics = options_.numerics;
  status_.draft_mode = options_.draft_mode;
  status_.verification = std::string(ToString(options_.scheduler.verification));
  if (driver == Driver::kOwnThread) {
    thread_ = engine::Thread("engine", [this] { Run(); });
  }
}

EngineLoop::~EngineLoop() {
  Stop();
}

void EngineLoop::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  thread_.Join();
}

absl::Status EngineLoop::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

absl::StatusOr<std::shared_ptr<api::GenerationStream>> EngineLoop::Submit(
    api::GenerationRequest request) {
  const engine::Time now = clock_.Now();
  auto stream = std::make_shared<api::GenerationStream>();
  {
    const std::lock_guard lock(mutex_);
    if (status_.state != api::EngineState::kReady || stopping_) {
      return absl::UnavailableError(status_.detail.empty() ? "the engine is stopping"
                                                           : status_.detail);
    }
    // A request that finds a place free waits for the step in flight only: it must not be refused.
    const engine::schedule::SchedulerOptions& limits = options_.scheduler;
    if (streams_.size() >= static_cast<std::size_t>(limits.running_max) +
                               static_cast<std::size_t>(limits.waiting_max)) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("%d requests run and %d wait already: try again later",
                          limits.running_max,
                          streams_.size() - static_cast<std::size_t>(limits.running_max)));
    }
    ASSIGN_OR_RETURN(const SequenceId id, scheduler_->Admit(MakeRequest(std::move(request)), now));
    streams_.emplace(id, Running{stream, now});
  }
  work_.notify_all();
  return stream;
}

void EngineLoop::Run() {
  for (Turn turn = TakeTurn(); turn != Turn::kEnded; turn = TakeTurn()) {
    std::unique_lock lock(mutex_);
    if (turn == Turn::kIdle) {
      work_.wait_for(lock, kIdleTick, [&] { return stopping_ || scheduler_->HasWork(); });
    } else if (turn == Turn::kNoGroup || turn == Turn::kRefused) {
      const engine::Duration pause =
          turn == Turn::kNoGroup ? options_.reform_pause : options_.refusal_pause;
      work_.wait_for(lock, pause, [&] { return stopping_.load(); });
    }
  }
}

EngineLoop::Turn EngineLoop::TakeTurn() {
  if (stopping_) {
    if (serving_) {
      EndEpoch(absl::CancelledError("the engine is stopping"));
    }
    SetState(api::EngineState::kFailed, "the engine has stopped");
    FailEverything(absl::UnavailableError("the engine has stopped"));
    return Turn::kEnded;
  }
  return serving_ ? Serve() : TryFormGroup();
}

EngineLoop::Turn EngineLoop::TryFormGroup() {
  absl::Status formed = cluster_.Reform(epoch_, clock_.Now() + options_.form_timeout);
  if (formed.ok() && !costs_.has_value() && MustMeasure(options_.scheduler, cluster_.Shape())) {
    formed = MeasureCosts(cluster_.Shape());
    if (formed.ok()) {
      epoch_ = engine::Epoch(epoch_.value() + 1);
      return Turn::kBusy;  // The next turn forms the group that serves.
    }
  }
  if (formed.ok()) {
    serving_ = BeginServing();
    return serving_ ? Turn::kBusy : Turn::kEnded;
  }
  return Postpone(formed);
}

EngineLoop::Turn EngineLoop::Postpone(const absl::Status& why) {
  const std::lock_guard lock(mutex_);
  const bool is_refused = absl::IsFailedPrecondition(why);
  errors_.Add(std::chrono::system_clock::now(),
              absl::StrFormat("%s: %s", is_refused ? "refused" : "no group", why.message()));
  if (is_refused && !scheduler_.has_value()) {
    LOG(ERROR) << "the cluster cannot work: " << why.message();
    failure_ = why;
    status_.state = api::EngineState::kFailed;
    status_.detail = std::string(why.message());
    return Turn::kEnded;
  }
  postponed_.Warn(absl::StrFormat("no group yet: %s", why.message()), clock_.Now());
  status_.detail = absl::StrFormat("%s; forming the group again: %s", why_not_, why.message());
  // A head whose clock is behind that of an earlier one began too low.
  epoch_ = engine::Epoch(std::max(epoch_, cluster_.NewestEpoch()).value() + 1);
  return is_refused ? Turn::kRefused : Turn::kNoGroup;
}

bool EngineLoop::BeginServing() {
  const std::lock_guard lock(mutex_);
  failure_ = BeginEpoch(cluster_.Shape());
  if (!failure_.ok()) {
    status_.state = api::EngineState::kFailed;
    status_.detail = std::string(failure_.message());
    return false;
  }
  status_.state = api::EngineState::kReady;
  status_.detail.clear();
  status_.epoch = epoch_.value();
  return true;
}

absl::Status EngineLoop::MeasureCosts(const engine::runtime::ClusterShape& shape) {
  const engine::Time began = clock_.Now();
  SetState(api::EngineState::kStarting, "measuring what steps cost, to plan verification by it");
  ASSIGN_OR_RETURN(engine::schedule::StepCosts costs,
                   engine::calibrate::MeasureStepCosts(
                       cluster_,
                       epoch_,
                       std::min(options_.scheduler.running_max, shape.sequences_max),
                       began + options_.step_timeout));
  costs_ = std::move(costs);
  const std::chrono::duration<double> took = clock_.Now() - began;
  LOG(INFO) << absl::StrFormat(
      "step costs: a row %.0f us, with a block of drafts %.0f us, drafting %.0f us (measured in "
      "%.2f s)",
      costs_->rows.At(1),
      costs_->rows.At(1 + shape.draft_tokens_max),
      costs_->drafts.At(1),
      took.count());
  return absl::OkStatus();
}

absl::Status EngineLoop::BeginEpoch(const engine::runtime::ClusterShape& shape) {
  if (scheduler_.has_value()) {
    scheduler_->Reset(epoch_);
    return absl::OkStatus();
  }
  engine::schedule::SchedulerOptions scheduler = options_.scheduler;
  scheduler.epoch = epoch_;
  scheduler.kv_blocks = shape.kv_blocks;
  scheduler.draft_tokens_max = shape.draft_tokens_max;
  scheduler.waiting_max += scheduler.running_max;  // Submit counts both together.
  ASSIGN_OR_RETURN(scheduler_, engine::schedule::Scheduler::Create(scheduler));
  if (costs_.has_value()) {
    scheduler_->SetStepCosts(*costs_);
  }
  CompareContext();
  return absl::OkStatus();
}

void EngineLoop::CompareContext() {
  const std::int64_t wanted = options_.scheduler.context_tokens_max;
  const std::int64_t held = scheduler_->RequestTokensMax();
  if (held >= wanted) {
    return;
  }
  status_.context_cut = absl::StrFormat(
      "the KV pool of %d blocks holds %d tokens of one request: context_length %d is cut to that; "
      "give more kv_memory or kv_tokens, or lower context_length",
      scheduler_->options().kv_blocks,
      held,
      wanted);
  LOG(WARNING) << status_.context_cut;
}

EngineLoop::Turn EngineLoop::Serve() {
  const std::optional<StepPlan> plan = NextPlan();
  const absl::Status status = plan.has_value() ? RunStep(*plan) : cluster_.Watch();
  if (!status.ok()) {
    EndEpoch(status);
    return Turn::kBusy;
  }
  return plan.has_value() ? Turn::kBusy : Turn::kIdle;
}

void EngineLoop::EndEpoch(const absl::Status& why) {
  serving_ = false;
  why_not_ = std::string(why.message());
  if (!absl::IsCancelled(why)) {
    LOG(ERROR) << "epoch " << epoch_ << " is lost: " << why_not_;
    SetState(api::EngineState::kDegraded, why_not_);
    RecordLoss();
  }
  FailEverything(why);
  epoch_ = engine::Epoch(epoch_.value() + 1);
}

void EngineLoop::RecordLoss() {
  const auto now = std::chrono::system_clock::now();
  {
    const std::lock_guard lock(mutex_);
    errors_.Add(now, absl::StrFormat("epoch %d is lost: %s", epoch_.value(), why_not_));
    api::FailureStatus& failure = status_.last_failure.emplace();
    failure.unix_seconds = UnixSeconds(now);
    failure.epoch = epoch_.value();
    failure.reason = why_not_;
  }
  if (options_.on_epoch_lost) {
    options_.on_epoch_lost(epoch_);
  }
}

std::optional<StepPlan> EngineLoop::NextPlan() {
  const std::lock_guard lock(mutex_);
  const engine::Time now = clock_.Now();
  CloseCancelled();
  CloseOverdue(now);
  if (!scheduler_->HasWork()) {
    return std::nullopt;
  }
  StepPlan plan = scheduler_->Plan(now);
  for (const engine::runtime::SequenceOpen& open : plan.open) {
    if (const auto found = streams_.find(open.sequence); found != streams_.end()) {
      found->second.stream->MarkScheduled(now);
    }
  }
  return plan;
}

void EngineLoop::CloseCancelled() {
  std::erase_if(streams_, [&](const auto& entry) {
    const bool cancelled = entry.second.stream->cancelled();
    if (cancelled) {
      scheduler_->Cancel(entry.first);
    }
    return cancelled;
  });
}

void EngineLoop::CloseOverdue(engine::Time now) {
  std::erase_if(streams_, [&](const auto& entry) {
    const auto& [id, running] = entry;
    const bool overdue = now - running.admitted >= options_.queue_timeout;
    if (!overdue || running.stream->scheduled().has_value()) {
      return false;
    }
    scheduler_->Cancel(id);
    EndWith(absl::DeadlineExceededError("The request has waited too long for a place."),
            now,
            running.stream.get());
    return true;
  });
}

absl::Status EngineLoop::RunStep(const StepPlan& plan) {
  RETURN_IF_ERROR(cluster_.Submit(plan));
  ASSIGN_OR_RETURN(const StepResult result, cluster_.Collect(clock_.Now() + options_.step_timeout));
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(std::vector<TokenEvent> events, scheduler_->Absorb(result));
  const engine::Time now = clock_.Now();
  std::int64_t tokens = 0;
  for (TokenEvent& event : events) {
    tokens += static_cast<std::int64_t>(event.tokens.size());
    Deliver(std::move(event), now);
  }
  CountStep(plan, now, tokens);
  WatchDrafter();
  return absl::OkStatus();
}

void EngineLoop::WatchDrafter() {
  const double accepted = scheduler_->RecentFirstAcceptance();
  const bool suspect =
      accepted < (drafter_is_suspect_ ? kFirstAcceptanceRecovered : kFirstAcceptanceLeast);
  if (suspect == drafter_is_suspect_) {
    return;
  }
  drafter_is_suspect_ = suspect;
  status_.draft_alarm =
      suspect ? absl::StrFormat(
                    "of the first drafts only %.0f %% are accepted lately, healthy "
                    "drafters reach 70 to 90 %%: the text is right, but the drafter or "
                    "its weights may be broken",
                    100 * accepted)
              : "";
  if (suspect) {
    LOG(WARNING) << status_.draft_alarm;
    errors_.Add(std::chrono::system_clock::now(), status_.draft_alarm);
  } else {
    LOG(INFO) << absl::StrFormat("the drafter is accepted again: %.0f %%", 100 * accepted);
  }
}

void EngineLoop::Deliver(TokenEvent event, engine::Time now) {
  const auto found = streams_.find(event.sequence);
  if (found == streams_.end()) {
    return;  // Cancelled while the step ran.
  }
  api::GenerationEvent out;
  out.tokens = std::move(event.tokens);
  out.drafted = event.drafted;
  out.accepted = event.accepted;
  out.time = now;
  const bool finished = event.finish.has_value();
  if (finished) {
    using engine::schedule::FinishReason;
    api::GenerationFinish finish;
    finish.reason = event.finish->reason == FinishReason::kStop     ? api::FinishReason::kStop
                    : event.finish->reason == FinishReason::kLength ? api::FinishReason::kLength
                                                                    : api::FinishReason::kError;
    finish.token = event.finish->token;
    if (finish.reason == api::FinishReason::kError) {
      finish.error = FaultStatus(event.finish->fault);
    }
    out.finish = std::move(finish);
    const double seconds = std::chrono::duration<double>(now - found->second.admitted).count();
    request_seconds_ += kRequestSecondsWeight * (seconds - request_seconds_);
  }
  const bool wanted = found->second.stream->Push(std::move(out));
  if (!wanted && !finished) {
    scheduler_->Cancel(event.sequence);
  }
  if (!wanted || finished) {
    streams_.erase(found);
  }
}

void EngineLoop::FailEverything(const absl::Status& why) {
  const std::lock_guard lock(mutex_);
  if (scheduler_.has_value()) {
    scheduler_->FailAll();
  }
  for (auto& [id, running] : streams_) {
    EndWith(absl::UnavailableError(why.message()), clock_.Now(), running.stream.get());
  }
  streams_.clear();
}

void EngineLoop::SetState(api::EngineState state, std::string detail) {
  const std::lock_guard lock(mutex_);
  status_.state = state;
  status_.detail = std::move(detail);
}

void EngineLoop::CountStep(const StepPlan& plan, engine::Time now, std::int64_t tokens) {
  ++status_.steps_total;
  if (const std::int64_t rows = RowsOf(plan); rows > 0) {
    status_.step_tokens.Observe(rows);
  }
  rate_.push_back({now, tokens});
  while (rate_.front().time + kRateWindow < now) {
    rate_.pop_front();
  }
}

void EngineLoop::FillReadiness(api::EngineReadiness* readiness) const {
  readiness->state = status_.state;
  readiness->detail = status_.detail;
  readiness->running_max = options_.scheduler.running_max;
  readiness->waiting_max = options_.scheduler.waiting_max;
  if (scheduler_.has_value()) {
    readiness->request_tokens_max = scheduler_->RequestTokensMax();
    readiness->retry_after_seconds = RetryAfterSeconds();
  }
}

api::EngineReadiness EngineLoop::Readiness() const {
  api::EngineReadiness readiness;
  {
    const std::lock_guard lock(mutex_);
    FillReadiness(&readiness);
  }
  if (!options_.describe_cluster) {
    return readiness;
  }
  // Every request asks, and looking at the machines takes longer than it may be held up.
  const engine::Time now = clock_.Now();
  {
    const std::lock_guard lock(judged_mutex_);
    if (judged_.has_value() && judged_->engine_state == readiness.state &&
        judged_->engine_detail == readiness.detail && now < judged_->at + kJudgedFor) {
      readiness.state = judged_->state;
      readiness.detail = judged_->detail;
      return readiness;
    }
  }
  const api::EngineStatus status = Status();
  const std::lock_guard lock(judged_mutex_);
  judged_ = Judged{readiness.state, readiness.detail, status.state, status.detail, now};
  readiness.state = status.state;
  readiness.detail = status.detail;
  return readiness;
}

std::int32_t EngineLoop::RetryAfterSeconds() const {
  const engine::schedule::ScheduleStats stats = scheduler_->Stats();
  const double places = std::max(1, options_.scheduler.running_max);
  const double seconds = request_seconds_ * static_cast<double>(stats.waiting + 1) / places;
  return static_cast<std::int32_t>(std::clamp(seconds, 1.0, 60.0));
}

api::EngineStatus EngineLoop::Status() const {
  api::EngineStatus status;
  {
    const std::lock_guard lock(mutex_);
    status = status_;
    FillReadiness(&status);
    status.errors = errors_.errors();
    status.kv_block_tokens = options_.scheduler.kv_block_tokens;
    if (scheduler_.has_value()) {
      const engine::schedule::ScheduleStats stats = scheduler_->Stats();
      status.running = stats.running;
      status.waiting = stats.waiting;
      status.kv_blocks_total = scheduler_->options().kv_blocks;
      status.kv_blocks_used = stats.kv_blocks_used;
      status.prompt_tokens_total = stats.prompt_tokens_total;
      status.generation_tokens_total = stats.generation_tokens_total;
      status.drafts_total = stats.drafts_total;
      status.draft_tokens_total = stats.draft_tokens_total;
      for (const engine::schedule::PositionStatistics& position : stats.drafts_by_position) {
        status.drafts_by_position.push_back(
            {position.verified, position.accepted, position.predicted});
      }
      status.accepted_tokens_total = stats.accepted_tokens_total;
    }
    const engine::Time since = clock_.Now() - kRateWindow;
    std::int64_t tokens = 0;
    for (const RatePoint& point : rate_) {
      tokens += point.time >= since ? point.tokens : 0;
    }
    status.generation_tokens_per_second =
        static_cast<double>(tokens) / std::chrono::duration<double>(kRateWindow).count();
  }
  if (options_.describe_cluster) {
    options_.describe_cluster(&status);
  }
  return status;
}

}  // namespace sparkspan::head::cluster
