#include "engine/schedule/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <numeric>

namespace sparkspan::engine::schedule {
namespace {

using runtime::LastCommitted;
using runtime::RowSpan;
using runtime::StepPlan;
using runtime::StepResult;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Time kNow(std::chrono::seconds(100));

SchedulerOptions Options() {
  SchedulerOptions options;
  options.kv_blocks = 8;
  options.running_max = 4;
  options.waiting_max = 3;
  options.step_rows_max = 512;
  options.context_tokens_max = 1024;
  options.epoch = Epoch(1);
  return options;
}

Scheduler Make(const SchedulerOptions& options) {
  return Scheduler::Create(options).value();
}

Request Prompt(std::size_t tokens, std::int64_t max_tokens) {
  Request request;
  request.prompt.resize(tokens);
  std::iota(request.prompt.begin(), request.prompt.end(), 0);
  request.max_tokens = max_tokens;
  request.arrival = kNow;
  return request;
}

std::int64_t Rows(const RowSpan& span) {
  const auto* tokens = std::get_if<std::vector<Token>>(&span.tokens);
  return tokens == nullptr ? 1 : static_cast<std::int64_t>(tokens->size());
}

// A span as text: "2:128+64!" is sequence 2 from position 128, 64 literal rows, with a token
// chosen; "=" stands for the last committed token.
std::vector<std::string> Spans(const StepPlan& plan) {
  std::vector<std::string> spans;
  for (const RowSpan& span : plan.spans) {
    const bool literal = std::holds_alternative<std::vector<Token>>(span.tokens);
    spans.push_back(std::to_string(span.sequence.value()) + ":" +
                    std::to_string(span.first_position) +
                    (literal ? "+" + std::to_string(Rows(span)) : "=") + (span.sample ? "!" : ""));
  }
  return spans;
}

// What ranks would answer if every choice were `token`.
StepResult Answer(const StepPlan& plan, Token token) {
  StepResult result;
  result.epoch = plan.epoch;
  result.step = plan.step;
  for (const RowSpan& span : plan.spans) {
    if (span.sample) {
      runtime::SequenceTokens& tokens = result.sequences.emplace_back();
      tokens.sequence = span.sequence;
      tokens.position = span.first_position + Rows(span);
      tokens.tokens.push_back({token, std::nullopt, {}});
    }
  }
  return result;
}

// With two plans in flight the second has rows of the sequence already when the fault is known.
TEST(Scheduler, EndsARequestThatCannotBeSampledAlone) {
  SchedulerOptions options = Options();
  options.plans_in_flight_max = 2;
  Scheduler scheduler = Make(options);
  ASSERT_TRUE(scheduler.Admit(Prompt(10, 5), kNow).ok());
  ASSERT_TRUE(scheduler.Admit(Prompt(10, 5), kNow).ok());
  const StepPlan first = scheduler.Plan(kNow);
  const StepPlan second = scheduler.Plan(kNow);
  const auto faulty = [](const StepPlan& plan) {
    StepResult result = Answer(plan, 9);
    result.sequences[0].tokens.clear();
    result.sequences[0].fault = runtime::SamplingFault::kNoTokenAllowed;
    return result;
  };
  const auto events = scheduler.Absorb(faulty(first));
  ASSERT_TRUE(events.ok()) << events.status().message();
  ASSERT_EQ(events->size(), 2u);
  EXPECT_EQ((*events)[0].finish,
            (Finish{.reason = FinishReason::kFault,
                    .token = {},
                    .fault = runtime::SamplingFault::kNoTokenAllowed}));
  EXPECT_TRUE((*events)[0].tokens.empty());
  EXPECT_FALSE((*events)[1].finish.has_value());
  EXPECT_EQ(scheduler.Absorb(faulty(second))->size(), 1u);
  const StepPlan third = scheduler.Plan(kNow);
  EXPECT_THAT(third.close, ElementsAre(SequenceId(1)));
  EXPECT_THAT(Spans(third), ElementsAre("2:11=!"));
  // A fault comes without tokens, and tokens without a fault.
  StepResult wrong = Answer(third, 9);
  wrong.sequences[0].fault = runtime::SamplingFault::kLogitsNotFinite;
  EXPECT_FALSE(scheduler.Absorb(wrong).ok());
}

TEST(Scheduler, HoldsAtMostWhatBlocksAndContextAllow) {
  SchedulerOptions options = Options();
  options.kv_blocks = 2;
  options.kv_block_tokens = 256;
  options.context_tokens_max = 1000;
  EXPECT_EQ(Make(options).RequestTokensMax(), 513);
  EXPECT_TRUE(Make(options).Admit(Prompt(13, 500), kNow).ok());
  EXPECT_FALSE(Make(options).Admit(Prompt(14, 500), kNow).ok());
  options.draft_tokens_max = 5;
  EXPECT_EQ(Make(options).RequestTokensMax(), 507);
  EXPECT_TRUE(Make(options).Admit(Prompt(7, 500), kNow).ok());
  EXPECT_FALSE(Make(options).Admit(Prompt(8, 500), kNow).ok());
  options.context_tokens_max = 100;
  EXPECT_EQ(Make(options).RequestTokensMax(), 100);
}

TEST(Scheduler, PrefillsInChunksThatEndAtMultiplesOf128) {
  SchedulerOptions options = Options();
  options.step_rows_max = 300;
  Scheduler scheduler = Make(options);
  ASSERT_FALSE(scheduler.HasWork());
  ASSERT_EQ(scheduler.Admit(Prompt(700, 3), kNow)->value(), 1u);
  ASSERT_TRUE(scheduler.HasWork());
  StepPlan plan = scheduler.Plan(kNow);
  EXPECT_EQ(plan.step, Step(1));
  ASSERT_EQ(plan.open.size(), 1u);
  EXPECT_EQ(plan.open[0].prompt_tokens, 700);
  EXPECT_THAT(plan.grants[0].blocks, ElementsAre(0, 1, 2));
  EXPECT_THAT(Spans(plan), ElementsAre("1:0+256"));
  EXPECT_FALSE(scheduler.HasWork());  // One plan in flight is all.
  EXPECT_TRUE(scheduler.Absorb(Answer(plan, 9))->empty());
  plan = scheduler.Plan(kNow);
  EXPECT_THAT(Spans(plan), ElementsAre("1:256+256"));
  EXPECT_TRUE(scheduler.Absorb(Answer(plan, 9))->empty());
  plan = scheduler.Plan(kNow);
  EXPECT_THAT(Spans(plan), ElementsAre("1:512+188!"));
  auto events = *scheduler.Absorb(Answer(plan, 9));
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].tokens[0].token, 9);
  EXPECT_FALSE(events[0].finish.has_value());
  plan = scheduler.Plan(kNow);
  EXPECT_THAT(Spans(plan), ElementsAre("1:700=!"));
  ASSERT_TRUE(scheduler.Absorb(Answer(plan, 9)).ok());
  plan = scheduler.Plan(kNow);
  EXPECT_THAT(Spans(plan), ElementsAre("1:701=!"));
  events = *scheduler.Absorb(Answer(plan, 9));
  EXPECT_EQ(events[0].finish, (Finish{.reason = FinishReason::kLength, .token = {}}));
  ASSERT_TRUE(scheduler.HasWork());
  plan = scheduler.Plan(kNow);
  EXPECT_THAT(plan.close, ElementsAre(SequenceId(1)));
  EXPECT_TRUE(plan.spans.empty());
  EXPECT_TRUE(scheduler.Absorb(Answer(plan, 9))->empty());
  EXPECT_FALSE(scheduler.HasWork());
  EXPECT_EQ(scheduler.Stats().kv_blocks_used, 0);
  EXPECT_EQ(scheduler.Stats().prompt_tokens_total, 700u);
  EXPECT_EQ(scheduler.Stats().generation_tokens_total, 3u);
}

TEST(Scheduler, DecodesFirstAndGivesTheRestToPromptsInOrder) {
  SchedulerOptions options = Options();
  options.step_rows_max = 200;
  Scheduler scheduler = Make(options);
  (void)scheduler.Admit(Prompt(10, 5), kNow);
  (void)scheduler.Absorb(Answer(scheduler.Plan(kNow), 9));
  (void)scheduler.Admit(Prompt(400, 5), kNow);
  (void)scheduler.Admit(Prompt(20, 5), kNow);
  StepPlan plan = scheduler.Plan(kNow);
  // What the boundary leaves of the step goes to the next in line.
  EXPECT_THAT(Spans(plan), ElementsAre("1:10=!", "2:0+128", "3:0+20!"));
  (void)scheduler.Absorb(Answer(plan, 9));
  plan = scheduler.Plan(kNow);
  EXPECT_THAT(Spans(plan), ElementsAre("1:11=!", "3:20=!", "2:128+128"));
}

TEST(Scheduler, AStepTooSmallForABoundaryTakesWhatFits) {
  SchedulerOptions options = Options();
  options.step_rows_max = 100;
  Scheduler scheduler = Make(options);
  (void)scheduler.Admit(Prompt(300, 1), kNow);
  std::vector<std::string> spans;
  while (spans.empty() || spans.back().back() != '!') {
    const StepPlan plan = scheduler.Plan(kNow);
    spans.push_back(Spans(plan).front());
    (void)scheduler.Absorb(Answer(plan, 9));
  }
  EXPECT_THAT(spans, ElementsAre("1:0+100", "1:100+28", "1:128+100", "1:228+72!"));
}

TEST(Scheduler, WaitsForBlocksInOrder) {
  Scheduler scheduler = Make(Options());          // 8 blocks
  (void)scheduler.Admit(Prompt(900, 124), kNow);  // 4 blocks
  (void)scheduler.Admit(Prompt(1000, 24), kNow);  // 4 blocks
  (void)scheduler.Admit(Prompt(5, 2), kNow);      // 1 block, which is not there
  StepPlan plan = scheduler.Plan(kNow);
  EXPECT_EQ(plan.open.size(), 1u);  // The step is full.
  (void)scheduler.Absorb(Answer(plan, 9));
  plan = scheduler.Plan(kNow);
  EXPECT_THAT(Spans(plan), ElementsAre("1:512+388!", "2:0+124"));
  (void)scheduler.Absorb(Answer(plan, 9));
  EXPECT_EQ(scheduler.Stats().waiting, 1);
  EXPECT_EQ(scheduler.Stats().kv_blocks_used, 8);
  scheduler.Cancel(SequenceId(1));
  plan = scheduler.Plan(kNow + std::chrono::seconds(7));
  EXPECT_THAT(plan.close, ElementsAre(SequenceId(1)));
  // Nothing in flight refers to sequence 1: its blocks go on at once, the lowest first.
  EXPECT_THAT(Spans(plan), ElementsAre("2:124+388", "3:0+5!"));
  EXPECT_THAT(plan.grants[0].blocks, ElementsAre(0));
}

TEST(Scheduler, BlocksOfACancelledSequenceWaitForThePlanInFlight) {
  SchedulerOptions options = Options();
  options.plans_in_flight_max = 2;
  Scheduler scheduler = Make(options);
  (void)scheduler.Admit(Prompt(500, 524), kNow);
  (void)scheduler.Admit(Prompt(10, 1000), kNow);
  const StepPlan first = scheduler.Plan(kNow);
  EXPECT_THAT(Spans(first), ElementsAre("1:0+500!", "2:0+10!"));
  (void)scheduler.Admit(Prompt(4, 10), kNow);
  EXPECT_EQ(scheduler.Stats().kv_blocks_used, 8);
  scheduler.Cancel(SequenceId(1));
  // Its rows are in flight: closed now, but the third must not have its blocks yet.
  const StepPlan second = scheduler.Plan(kNow);
  EXPECT_THAT(second.close, ElementsAre(SequenceId(1)));
  EXPECT_THAT(Spans(second), ElementsAre("2:10=!"));
  EXPECT_EQ(scheduler.Stats().kv_blocks_used, 8);
  const auto events = *scheduler.Absorb(Answer(first, 9));
  ASSERT_EQ(events.size(), 1u);  // Nothing for the cancelled one.
  EXPECT_EQ(events[0].sequence, SequenceId(2));
  EXPECT_EQ(scheduler.Stats().kv_blocks_used, 4);
  EXPECT_THAT(Spans(scheduler.Plan(kNow)), ElementsAre("2:11=!", "3:0+4!"));
}

TEST(Scheduler, PlansAheadWithoutKnowingTheTokens) {
  SchedulerOptions options = Options();
  options.plans_in_flight_max = 2;
  Scheduler scheduler = Make(options);
  Request request = Prompt(4, 3);
  request.end_tokens = {7};
  (void)scheduler.Admit(request, kNow);
  const StepPlan first = scheduler.Plan(kNow);
  const StepPlan second = scheduler.Plan(kNow);
  EXPECT_THAT(Spans(second), ElementsAre("1:4=!"));
  EXPECT_FALSE(scheduler.HasWork());
  const auto events = *scheduler.Absorb(Answer(first, 7));
  EXPECT_EQ(events[0].finish, (Finish{.reason = FinishReason::kStop, .token = 7}));
  const StepPlan third = scheduler.Plan(kNow);
  EXPECT_THAT(third.close, ElementsAre(SequenceId(1)));
  // The token that was planned before the end was known is nobody's.
  EXPECT_TRUE(scheduler.Absorb(Answer(second, 5))->empty());
  EXPECT_EQ(scheduler.Stats().kv_blocks_used, 0);
  EXPECT_EQ(scheduler.Stats().finished_total, 1u);
}

TEST(Scheduler, NeverPlansBeyondMaxTokens) {
  SchedulerOptions options = Options();
  options.plans_in_flight_max = 2;
  Scheduler scheduler = Make(options);
  (void)scheduler.Admit(Prompt(4, 1), kNow);
  (void)scheduler.Plan(kNow);
  EXPECT_FALSE(scheduler.HasWork());
}

TEST(Scheduler, EndTokensEndOnlyAfterMinTokens) {
  Scheduler scheduler = Make(Options());
  Request request = Prompt(4, 10);
  request.end_tokens = {1, 7};
  request.sampling.min_tokens = 3;
  (void)scheduler.Admit(request, kNow);
  int tokens = 0;
  std::optional<Finish> finish;
  while (!finish.has_value()) {
    finish = (*scheduler.Absorb(Answer(scheduler.Plan(kNow), 7)))[0].finish;
    ++tokens;
  }
  EXPECT_EQ(tokens, 3);
  EXPECT_EQ(finish, (Finish{.reason = FinishReason::kStop, .token = 7}));
}

TEST(Scheduler, TakesDraftsAndCutsThemAtTheEnd) {
  SchedulerOptions options = Options();
  options.draft_tokens_max = 5;
  Scheduler scheduler = Make(options);
  Request request = Prompt(4, 9);
  request.end_tokens = {7};
  (void)scheduler.Admit(request, kNow);
  StepPlan plan = scheduler.Plan(kNow);
  EXPECT_TRUE(plan.spans[0].propose);
  StepResult result = Answer(plan, 9);
  result.sequences[0].proposed = 5;
  (void)scheduler.Absorb(result);
  plan = scheduler.Plan(kNow);
  EXPECT_EQ(plan.spans[0].draft_tokens_max, 5);
  EXPECT_TRUE(plan.spans[0].propose);
  result = Answer(plan, 9);
  result.sequences[0].proposed = 5;
  result.sequences[0].tokens.resize(4, {8, std::nullopt, {}});
  result.sequences[0].drafted = 5;
  result.sequences[0].accepted = 3;
  auto events = *scheduler.Absorb(result);
  EXPECT_EQ(events[0].tokens.size(), 4u);
  plan = scheduler.Plan(kNow);
  EXPECT_THAT(Spans(plan), ElementsAre("1:8=!"));
  EXPECT_EQ(plan.spans[0].draft_tokens_max, 3);  // 5 of 9 tokens are there.
  EXPECT_TRUE(plan.spans[0].propose);            // None may be accepted.
  result = Answer(plan, 9);
  result.sequences[0].tokens = {
      {9, std::nullopt, {}}, {7, std::nullopt, {}}, {9, std::nullopt, {}}};
  result.sequences[0].drafted = 3;
  result.sequences[0].accepted = 2;
  events = *scheduler.Absorb(result);
  EXPECT_EQ(events[0].tokens.size(), 2u);
  EXPECT_EQ(events[0].accepted, 2);
  EXPECT_EQ(events[0].finish, (Finish{.reason = FinishReason::kStop, .token = 7}));
  const ScheduleStats stats = scheduler.Stats();
  EXPECT_EQ(stats.drafts_total, 2u);
  EXPECT_EQ(stats.draft_tokens_total, 8u);
  EXPECT_EQ(stats.accepted_tokens_total, 5u);
  ASSERT_EQ(stats.drafts_by_position.size(), 5u);
  EXPECT_EQ(stats.drafts_by_position[2].verified, 2u);
  EXPECT_EQ(stats.drafts_by_position[2].accepted, 1u);
  EXPECT_EQ(stats.drafts_by_position[4].verified, 1u);
}

// What the drafter is unsure of waits for better times, and drafts that nobody asked for are
// refused.
TEST(Scheduler, VerifiesAsManyDraftsAsThePolicySays) {
  SchedulerOptions options = Options();
  options.draft_tokens_max = 3;
  options.verification = VerificationPolicy::kThreshold;
  options.verification_threshold = 0.4;
  Scheduler scheduler = Make(options);
  (void)scheduler.Admit(Prompt(4, 9), kNow);
  StepResult result = Answer(scheduler.Plan(kNow), 9);
  result.sequences[0].proposed = 3;
  result.sequences[0].confidence = {1.0f, 0.0f, 5.0f};  // 0.73, 0.37, 0.36
  (void)scheduler.Absorb(result);
  const StepPlan plan = scheduler.Plan(kNow);
  EXPECT_EQ(plan.spans[0].draft_tokens_max, 1);
  result = Answer(plan, 9);
  (void)scheduler.Absorb(result);  // Nothing was proposed.
  EXPECT_EQ(scheduler.Plan(kNow).spans[0].draft_tokens_max, 0);
}

TEST(Scheduler, DraftsNothingThatCouldNotBeUsed) {
  SchedulerOptions options = Options();
  options.draft_tokens_max = 3;
  Scheduler scheduler = Make(options);
  (void)scheduler.Admit(Prompt(4, 2), kNow);
  StepPlan plan = scheduler.Plan(kNow);
  EXPECT_FALSE(plan.spans[0].propose);
  StepResult result = Answer(plan, 9);
  result.sequences[0].proposed = 3;
  EXPECT_THAT(std::string(scheduler.Absorb(result).status().message()), HasSubstr("3 proposed"));
  options.verification = VerificationPolicy::kNone;
  Scheduler none = Make(options);
  (void)none.Admit(Prompt(4, 20), kNow);
  EXPECT_FALSE(none.Plan(kNow).spans[0].propose);
}

TEST(Scheduler, RefusesWhatCanNeverRun) {
  Scheduler scheduler = Make(Options());
  const auto message = [&](Request request) {
    const auto id = scheduler.Admit(std::move(request), kNow);
    EXPECT_EQ(id.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(id.status().message());
  };
  EXPECT_THAT(message(Prompt(0, 1)), HasSubstr("prompt has no tokens"));
  EXPECT_THAT(message(Prompt(1, 0)), HasSubstr("max_tokens is 0"));
  EXPECT_THAT(message(Prompt(1000, 25)), HasSubstr("the context is 1024 tokens"));
  EXPECT_THAT(message(Prompt(1, std::numeric_limits<std::int64_t>::max())),
              HasSubstr("the context is 1024 tokens"));
  Request request = Prompt(1, 1);
  request.sampling.top_logprobs = 1000;
  EXPECT_THAT(message(request), HasSubstr("top_logprobs is 1000"));
  SchedulerOptions options = Options();
  options.kv_blocks = 2;
  scheduler = Make(options);
  EXPECT_THAT(message(Prompt(500, 14)), HasSubstr("needs 3 KV blocks"));
  EXPECT_TRUE(scheduler.Admit(Prompt(500, 13), kNow).ok());  // The last token is not stored.
}

TEST(Scheduler, TheQueueIsBounded) {
  Scheduler scheduler = Make(Options());
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(scheduler.Admit(Prompt(1, 1), kNow).ok());
  }
  EXPECT_EQ(scheduler.Admit(Prompt(1, 1), kNow).status().code(),
            absl::StatusCode::kResourceExhausted);
  scheduler.Cancel(SequenceId(2));
  EXPECT_EQ(scheduler.Admit(Prompt(1, 1), kNow)->value(), 4u);
  EXPECT_THAT(Spans(scheduler.Plan(kNow)), ElementsAre("1:0+1!", "3:0+1!", "4:0+1!"));
}

TEST(Scheduler, PrioritiesCountOnlyWhereEnabled) {
  for (const bool enabled : {false, true}) {
    SchedulerOptions options = Options();
    options.priorities = enabled;
    Scheduler scheduler = Make(options);
    for (const int priority : {5, 0, 5}) {
      Request request = Prompt(1, 1);
      request.priority = priority;
      (void)scheduler.Admit(request, kNow);
    }
    EXPECT_EQ(scheduler.Plan(kNow).open[0].sequence, SequenceId(enabled ? 2 : 1));
  }
}

TEST(Scheduler, ALostEpochEndsWhatHadState) {
  SchedulerOptions options = Options();
  options.running_max = 2;
  Scheduler scheduler = Make(options);
  for (int i = 0; i < 3; ++i) {
    (void)scheduler.Admit(Prompt(5, 5), kNow);
  }
  const StepPlan lost = scheduler.Plan(kNow);
  EXPECT_THAT(scheduler.Reset(Epoch(2)), ElementsAre(SequenceId(1), SequenceId(2)));
  EXPECT_FALSE(scheduler.Absorb(Answer(lost, 9)).ok());
  const StepPlan plan = scheduler.Plan(kNow);
  EXPECT_EQ(plan.epoch, Epoch(2));
  EXPECT_EQ(plan.step, Step(1));
  EXPECT_TRUE(plan.close.empty());
  EXPECT_THAT(Spans(plan), ElementsAre("3:0+5!"));
  (void)scheduler.Admit(Prompt(5, 5), kNow);
  EXPECT_THAT(scheduler.FailAll(), ElementsAre(SequenceId(3), SequenceId(4)));
  EXPECT_FALSE(scheduler.HasWork());
}

TEST(Scheduler, RefusesResultsThatAnswerAnotherPlan) {
  Scheduler scheduler = Make(Options());
  (void)scheduler.Admit(Prompt(5, 5), kNow);
  const StepResult sound = Answer(scheduler.Plan(kNow), 9);
  const std::pair<const char*, std::function<void(StepResult*)>> cases[] = {
      {"epoch 2 step 1, expected epoch 1 step 1", [](StepResult* r) { r->epoch = Epoch(2); }},
      {"step 2", [](StepResult* r) { r->step = Step(2); }},
      {"0 sequences", [](StepResult* r) { r->sequences.clear(); }},
      {"sequence 2 at", [](StepResult* r) { r->sequences[0].sequence = SequenceId(2); }},
      {"position 4", [](StepResult* r) { r->sequences[0].position = 4; }},
      {"1 drafted", [](StepResult* r) { r->sequences[0].drafted = 1; }},
      {"2 tokens", [](StepResult* r) { r->sequences[0].tokens.resize(2); }},
  };
  for (const auto& [message, spoil] : cases) {
    StepResult result = sound;
    spoil(&result);
    EXPECT_THAT(std::string(scheduler.Absorb(result).status().message()), HasSubstr(message));
  }
  EXPECT_TRUE(scheduler.Absorb(sound).ok());
}

TEST(Scheduler, RefusesOptionsUnderWhichNothingRuns) {
  const std::pair<const char*, std::function<void(SchedulerOptions*)>> cases[] = {
      {"kv_blocks is 0", [](SchedulerOptions* o) { o->kv_blocks = 0; }},
      {"step_rows_max is 3", [](SchedulerOptions* o) { o->step_rows_max = 3; }},
      {"draft_tokens_max is 5 with plans_in_flight_max 2",
       [](SchedulerOptions* o) {
         o->draft_tokens_max = 5;
         o->plans_in_flight_max = 2;
       }},
      {"running_max is 5000", [](SchedulerOptions* o) { o->running_max = 5000; }},
  };
  for (const auto& [message, spoil] : cases) {
    SchedulerOptions options = Options();
    spoil(&options);
    EXPECT_THAT(std::string(Scheduler::Create(options).status().message()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace sparkspan::engine::schedule
