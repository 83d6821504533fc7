#include "head/cluster/engine_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "tests/unit/head/cluster/scripted_cluster.h"

namespace sparkspan::head::cluster {
namespace {

using api::FinishReason;
using api::GenerationEvent;
using api::GenerationStream;
using engine::Token;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int64_t kContext = 1 << 20;
// More tokens than any test waits for.
constexpr std::int64_t kEndless = kContext - 100;

engine::Time Soon() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(30);
}

class EngineLoopTest : public ::testing::Test {
 protected:
  void Start() {
    options_.scheduler.running_max = 4;
    options_.scheduler.waiting_max = 4;
    options_.scheduler.step_rows_max = 128;
    options_.scheduler.context_tokens_max = kContext;
    options_.first_epoch = engine::Epoch(100);
    loop_ = std::make_unique<EngineLoop>(options_, cluster_, clock_);
  }

  void WaitForState(api::EngineState state) {
    const engine::Time deadline = Soon();
    while (loop_->Status().state != state && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_EQ(loop_->Status().state, state) << loop_->Status().detail;
  }

  static api::GenerationRequest Request(std::size_t prompt, std::int64_t max_tokens) {
    api::GenerationRequest request;
    request.prompt.assign(prompt, 7);
    request.max_tokens = max_tokens;
    return request;
  }

  // All that a stream gives until its finish.
  static std::vector<Token> Drain(GenerationStream& stream,
                                  std::optional<api::GenerationFinish>* finish) {
    std::vector<Token> tokens;
    while (std::optional<GenerationEvent> event = stream.Pop(Soon())) {
      for (const auto& token : event->tokens) {
        tokens.push_back(token.token);
      }
      if (event->finish.has_value()) {
        *finish = event->finish;
      }
    }
    return tokens;
  }

  EngineLoopOptions options_;
  ScriptedCluster cluster_;
  engine::SteadyClock clock_;
  std::unique_ptr<EngineLoop> loop_;
};

TEST_F(EngineLoopTest, ReadinessFollowsWhatTheClusterIsJudgedBy) {
  std::atomic<bool> is_short{false};
  options_.describe_cluster = [&](api::EngineStatus* status) {
    if (is_short && status->state == api::EngineState::kReady) {
      status->state = api::EngineState::kDegraded;
      status->detail = "rank 0 is short of memory";
    }
  };
  Start();
  WaitForState(api::EngineState::kReady);
  const auto wait_for = [&](api::EngineState state) {
    const engine::Time deadline = Soon();
    while (loop_->Readiness().state != state && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(loop_->Readiness().state, state);
  };
  wait_for(api::EngineState::kReady);
  is_short = true;
  wait_for(api::EngineState::kDegraded);
  EXPECT_EQ(loop_->Readiness().detail, "rank 0 is short of memory");
  is_short = false;
  wait_for(api::EngineState::kReady);
}

TEST_F(EngineLoopTest, GivesEachRequestItsTokensAndOneFinish) {
  Start();
  WaitForState(api::EngineState::kReady);
  std::vector<std::shared_ptr<GenerationStream>> streams;
  for (const std::size_t prompt : {3u, 200u, 1u}) {
    auto stream = loop_->Submit(Request(prompt, 3));
    ASSERT_TRUE(stream.ok()) << stream.status();
    streams.push_back(*stream);
  }
  const Token first = ScriptedCluster::kFirstToken;
  const Token lengths[] = {3, 200, 1};
  for (int i = 0; i < 3; ++i) {
    std::optional<api::GenerationFinish> finish;
    const Token p = first + lengths[i];
    EXPECT_THAT(Drain(*streams[static_cast<std::size_t>(i)], &finish),
                ElementsAre(p, p + 1, p + 2));
    ASSERT_TRUE(finish.has_value());
    EXPECT_EQ(finish->reason, FinishReason::kLength);
    EXPECT_TRUE(streams[static_cast<std::size_t>(i)]->scheduled().has_value());
  }
  const api::EngineStatus status = loop_->Status();
  EXPECT_EQ(status.epoch, 100u);
  EXPECT_EQ(status.prompt_tokens_total, 204u);
  EXPECT_EQ(status.generation_tokens_total, 9u);
  EXPECT_EQ(status.kv_blocks_total, 1 << 16);
  EXPECT_GT(status.steps_total, 0u);
}

// A request for which no token can be chosen ends alone: the epoch and the others go on.
TEST_F(EngineLoopTest, EndsOnlyTheRequestThatCannotBeSampled) {
  using engine::runtime::SamplingFault;
  for (const auto& [fault, code] :
       {std::pair(SamplingFault::kNoTokenAllowed, absl::StatusCode::kInvalidArgument),
        std::pair(SamplingFault::kLogitsNotFinite, absl::StatusCode::kDataLoss)}) {
    cluster_.faulty = engine::SequenceId(2);
    cluster_.sampling_fault = fault;
    Start();
    WaitForState(api::EngineState::kReady);
    std::vector<std::shared_ptr<GenerationStream>> streams;
    for (int i = 0; i < 3; ++i) {
      streams.push_back(loop_->Submit(Request(5, 20)).value());
    }
    for (int i = 0; i < 3; ++i) {
      std::optional<api::GenerationFinish> finish;
      const std::vector<Token> tokens = Drain(*streams[static_cast<std::size_t>(i)], &finish);
      ASSERT_TRUE(finish.has_value());
      EXPECT_EQ(finish->reason, i == 1 ? FinishReason::kError : FinishReason::kLength);
      EXPECT_EQ(finish->error.code(), i == 1 ? code : absl::StatusCode::kOk);
      EXPECT_EQ(tokens.size(), i == 1 ? 0u : 20u);
    }
    EXPECT_EQ(loop_->Status().epoch, 100u);
    EXPECT_EQ(loop_->Status().state, api::EngineState::kReady);
    const engine::Time deadline = Soon();
    while (loop_->Status().kv_blocks_used > 0 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(loop_->Status().kv_blocks_used, 0) << "the faulty sequence was never closed";
    loop_.reset();
  }
}

TEST_F(EngineLoopTest, EndsARequestThatWaitsForTooLong) {
  options_.queue_timeout = std::chrono::milliseconds(500);
  cluster_.before_result = [](const engine::runtime::StepPlan&) {
    std::this_thread::sleep_for(
        std::chrono::milliseconds(1));  // else an endless request ends first
    return absl::OkStatus();
  };
  Start();
  WaitForState(api::EngineState::kReady);
  std::vector<std::shared_ptr<GenerationStream>> running;
  for (int i = 0; i < 4; ++i) {
    running.push_back(loop_->Submit(Request(1, kEndless)).value());
    ASSERT_TRUE(running.back()->Pop(Soon()).has_value());
  }
  const auto waiting = loop_->Submit(Request(1, 5)).value();
  std::optional<api::GenerationFinish> finish;
  EXPECT_TRUE(Drain(*waiting, &finish).empty());
  ASSERT_TRUE(finish.has_value());
  EXPECT_EQ(finish->error.code(), absl::StatusCode::kDeadlineExceeded);
  for (const auto& stream : running) {
    EXPECT_FALSE(stream->done()) << "who runs is not overdue";
    stream->Cancel();
  }
}

TEST_F(EngineLoopTest, SaysWhatThePoolMakesOfTheContext) {
  cluster_.shape.kv_blocks = 2;
  Start();
  EXPECT_EQ(loop_->Readiness().running_max, 4);
  WaitForState(api::EngineState::kReady);
  // The last token is never run.
  EXPECT_EQ(loop_->Readiness().request_tokens_max, 2 * 256 + 1);
  EXPECT_THAT(loop_->Status().context_cut, HasSubstr("holds 513 tokens"));
  EXPECT_TRUE(loop_->Submit(Request(500, 13)).ok());
  EXPECT_EQ(loop_->Submit(Request(500, 14)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(EngineLoopTest, StopsAtAnEndToken) {
  Start();
  WaitForState(api::EngineState::kReady);
  api::GenerationRequest request = Request(5, 50);
  request.eos_token_ids = {ScriptedCluster::kFirstToken + 7};
  const auto stream = loop_->Submit(std::move(request));
  ASSERT_TRUE(stream.ok());
  std::optional<api::GenerationFinish> finish;
  EXPECT_EQ(Drain(**stream, &finish).size(), 3u);
  ASSERT_TRUE(finish.has_value());
  EXPECT_EQ(finish->reason, FinishReason::kStop);
  EXPECT_EQ(finish->token, ScriptedCluster::kFirstToken + 7);
}

// The sequence of a client that left is closed by the plan after the step in flight.
TEST_F(EngineLoopTest, ClosesACancelledSequenceWithinOneStep) {
  std::atomic<GenerationStream*> to_cancel{nullptr};
  std::atomic<std::uint64_t> cancelled_at{0};
  cluster_.before_result = [&](const engine::runtime::StepPlan& plan) {
    if (GenerationStream* stream = to_cancel.exchange(nullptr)) {
      stream->Cancel();
      cancelled_at = plan.step.value();
    }
    return absl::OkStatus();
  };
  Start();
  WaitForState(api::EngineState::kReady);
  const auto stream = loop_->Submit(Request(5, kEndless));
  ASSERT_TRUE(stream.ok());
  ASSERT_TRUE((*stream)->Pop(Soon()).has_value());
  to_cancel = stream->get();
  const engine::Time deadline = Soon();
  auto plans = cluster_.plans();
  while (plans.back().close.empty() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    plans = cluster_.plans();
  }
  EXPECT_EQ(loop_->Status().running, 0);
  EXPECT_EQ(loop_->Status().kv_blocks_used, 0);
  EXPECT_EQ(plans.back().step.value(), cancelled_at + 1);
  EXPECT_EQ(plans.back().close.size(), 1u);
  EXPECT_TRUE(plans.back().spans.empty());
}

TEST_F(EngineLoopTest, RefusesWhatCannotRunAndWhatDoesNotFitTheQueue) {
  std::atomic<bool> hold{true};
  cluster_.before_result = [&](const engine::runtime::StepPlan&) {
    const engine::Time deadline = Soon();
    while (hold && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return absl::OkStatus();
  };
  Start();
  WaitForState(api::EngineState::kReady);
  EXPECT_TRUE(absl::IsInvalidArgument(loop_->Submit(Request(kContext, 1)).status()));
  std::vector<std::shared_ptr<GenerationStream>> streams;
  absl::Status refused;
  for (int i = 0; i < 10 && refused.ok(); ++i) {
    auto stream = loop_->Submit(Request(2, 2));
    refused = stream.status();
    if (stream.ok()) {
      streams.push_back(*stream);
    }
  }
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_GE(streams.size(), 4u);
  hold = false;
  for (const auto& stream : streams) {
    std::optional<api::GenerationFinish> finish;
    EXPECT_EQ(Drain(*stream, &finish).size(), 2u);
  }
}

// An error of a step: its tokens never come, requests end with the reason, a later epoch serves.
TEST_F(EngineLoopTest, ALostEpochEndsRequestsWithTheReasonAndANewOneServes) {
  cluster_.before_result = [&](const engine::runtime::StepPlan& plan) {
    if (plan.epoch == engine::Epoch(100) && plan.step == engine::Step(5)) {
      cluster_.FailReforms({absl::UnavailableError("rank 1 is not up")});
      return absl::DataLossError("rank 1 disagrees at step 5");
    }
    return absl::OkStatus();
  };
  Start();
  WaitForState(api::EngineState::kReady);
  const auto stream = loop_->Submit(Request(5, kEndless));
  ASSERT_TRUE(stream.ok());
  std::optional<api::GenerationFinish> finish;
  EXPECT_EQ(Drain(**stream, &finish).size(), 4u) << "the tokens of steps 1 to 4, none of step 5";
  ASSERT_TRUE(finish.has_value());
  EXPECT_EQ(finish->reason, FinishReason::kError);
  EXPECT_THAT(std::string(finish->error.message()), HasSubstr("rank 1 disagrees"));
  WaitForState(api::EngineState::kReady);
  EXPECT_THAT(cluster_.epochs(),
              ElementsAre(engine::Epoch(100), engine::Epoch(101), engine::Epoch(102)));
  const auto again = loop_->Submit(Request(5, 2));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Drain(**again, &finish).size(), 2u);
  EXPECT_EQ(finish->reason, FinishReason::kLength);
  const auto plans = cluster_.plans();
  const auto first = std::find_if(plans.begin(), plans.end(), [](const auto& plan) {
    return plan.epoch == engine::Epoch(102);
  });
  ASSERT_NE(first, plans.end());
  EXPECT_EQ(first->step, engine::Step(1));
  EXPECT_TRUE(first->close.empty()) << "the ranks have forgotten every sequence";
}

TEST_F(EngineLoopTest, ALostRankIsNoticedWhileNothingRuns) {
  Start();
  WaitForState(api::EngineState::kReady);
  cluster_.FailReforms({absl::UnavailableError("rank 0 is not up")});
  cluster_.FailWhenIdle(absl::UnavailableError("rank 0 is lost"));
  const engine::Time deadline = Soon();
  while (cluster_.epochs().size() < 3 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  WaitForState(api::EngineState::kReady);
  EXPECT_EQ(loop_->Status().epoch, 102u);
}

// Who was restarted on another release is put right without the head.
TEST_F(EngineLoopTest, AWorkerThatRefusesAHeadThatHasServedIsAskedAgain) {
  options_.refusal_pause = std::chrono::milliseconds(1);
  std::vector<engine::Epoch> lost;
  options_.on_epoch_lost = [&](engine::Epoch epoch) { lost.push_back(epoch); };
  Start();
  WaitForState(api::EngineState::kReady);
  EXPECT_FALSE(loop_->Status().last_failure.has_value());
  cluster_.FailReforms({absl::FailedPreconditionError("rank 1 refuses: program version 2"),
                        absl::FailedPreconditionError("rank 1 refuses: program version 2")});
  cluster_.FailWhenIdle(absl::UnavailableError("rank 1 is lost"));
  const engine::Time deadline = Soon();
  while (cluster_.epochs().size() < 4 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  WaitForState(api::EngineState::kReady);
  const api::EngineStatus status = loop_->Status();
  ASSERT_EQ(status.errors.size(), 2u);
  EXPECT_THAT(status.errors[0].what, HasSubstr("program version 2"));
  EXPECT_EQ(status.errors[0].times, 2);
  EXPECT_EQ(status.errors[1].what, "epoch 100 is lost: rank 1 is lost");
  ASSERT_TRUE(status.last_failure.has_value());
  EXPECT_EQ(status.last_failure->epoch, 100u);
  EXPECT_EQ(status.last_failure->reason, "rank 1 is lost");
  loop_.reset();
  EXPECT_THAT(lost, ElementsAre(engine::Epoch(100)));
}

// As after a start by a clock that is behind.
TEST_F(EngineLoopTest, AHeadThatBeganTooLowPassesTheEpochsOfAnEarlierOne) {
  options_.reform_pause = std::chrono::milliseconds(1);
  cluster_.newest_epoch = engine::Epoch(5'000);
  cluster_.FailReforms({absl::AbortedError("rank 0: this worker has served epoch 5000")});
  Start();
  WaitForState(api::EngineState::kReady);
  EXPECT_THAT(cluster_.epochs(), ElementsAre(engine::Epoch(100), engine::Epoch(5'001)));
}

TEST_F(EngineLoopTest, AWorkerThatRefusesAtTheStartIsFinal) {
  cluster_.FailReforms({absl::FailedPreconditionError("rank 1 refuses: another cluster.yaml")});
  Start();
  WaitForState(api::EngineState::kFailed);
  EXPECT_THAT(std::string(loop_->failure().message()), HasSubstr("another cluster.yaml"));
  EXPECT_TRUE(absl::IsUnavailable(loop_->Submit(Request(1, 1)).status()));
}

TEST_F(EngineLoopTest, StoppingEndsWhatRuns) {
  // Slow enough for an outbox that nobody reads.
  cluster_.before_result = [](const engine::runtime::StepPlan&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return absl::OkStatus();
  };
  Start();
  WaitForState(api::EngineState::kReady);
  const auto stream = loop_->Submit(Request(5, kEndless));
  ASSERT_TRUE(stream.ok());
  ASSERT_TRUE((*stream)->Pop(Soon()).has_value());
  loop_->Stop();
  std::optional<api::GenerationFinish> finish;
  Drain(**stream, &finish);
  ASSERT_TRUE(finish.has_value());
  EXPECT_EQ(finish->reason, FinishReason::kError);
}

class DraftingLoopTest : public EngineLoopTest {
 protected:
  void StartDrafting() {
    cluster_.shape.vocabulary = 100;
    cluster_.shape.sequences_max = 4;
    cluster_.shape.step_rows_max = 128;
    cluster_.shape.draft_tokens_max = 2;
    options_.scheduler.verification = engine::schedule::VerificationPolicy::kHardware;
    Start();
    WaitForState(api::EngineState::kReady);
  }
};

TEST_F(DraftingLoopTest, MeasuresStepsOnceInAnEpochOfTheirOwn) {
  StartDrafting();
  EXPECT_THAT(cluster_.epochs(), ElementsAre(engine::Epoch(100), engine::Epoch(101)));
  const std::size_t measured = cluster_.plans().size();
  EXPECT_GT(measured, 10u);
  const auto stream = *loop_->Submit(Request(3, 9));
  std::optional<api::GenerationFinish> finish;
  EXPECT_THAT(Drain(*stream, &finish),
              ElementsAre(1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011));
  // One token with the prompt, then drafts: three tokens a step at most.
  EXPECT_LE(cluster_.plans().size(), measured + 6);
  const api::EngineStatus status = loop_->Status();
  EXPECT_GT(status.drafts_total, 0u);
  EXPECT_EQ(status.accepted_tokens_total, status.draft_tokens_total);
  ASSERT_EQ(status.drafts_by_position.size(), 2u);
  EXPECT_GT(status.drafts_by_position[0].predicted, 0);
  EXPECT_EQ(status.verification, "hardware");
  EXPECT_EQ(status.draft_alarm, "");

  cluster_.FailWhenIdle(absl::UnavailableError("rank 0 is lost"));
  const engine::Time deadline = Soon();
  while (loop_->Status().epoch == 101 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  WaitForState(api::EngineState::kReady);
  EXPECT_EQ(cluster_.epochs().size(), 3u) << "what steps cost is known";
}

TEST_F(DraftingLoopTest, RaisesAnAlarmForADrafterThatIsNeverRight) {
  StartDrafting();
  cluster_.accepts_drafts = false;
  const auto stream = *loop_->Submit(Request(3, 400));
  std::optional<api::GenerationFinish> finish;
  EXPECT_EQ(Drain(*stream, &finish).size(), 400u);
  EXPECT_THAT(loop_->Status().draft_alarm, HasSubstr("drafter or its weights may be broken"));
  cluster_.accepts_drafts = true;
  const auto better = *loop_->Submit(Request(3, 2000));
  EXPECT_EQ(Drain(*better, &finish).size(), 2000u);
  EXPECT_EQ(loop_->Status().draft_alarm, "");
}

}  // namespace
}  // namespace sparkspan::head::cluster
