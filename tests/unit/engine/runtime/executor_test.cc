#include "engine/runtime/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "tests/unit/engine/runtime/loaded_model.h"

namespace sparkspan::engine::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SamplingParams Greedy() {
  SamplingParams sampling;
  sampling.temperature = 0;
  return sampling;
}

// Advances with every look, so that times can be told.
class TickingClock final : public Clock {
 public:
  Time Now() const override { return Time(Duration(++ticks_)); }

 private:
  mutable std::int64_t ticks_ = 0;
};

class ExecutorTest : public ::testing::Test {
 protected:
  ExecutorTest() {
    auto model = LoaderOf("deploy/demo/model", 1, {})(Rank(0), nullptr).value();
    executor_ = Executor::Create(std::move(model),
                                 nullptr,
                                 {.kv_blocks = 4, .sequences_max = 2, .step_rows_max = 300},
                                 &clock_)
                    .value();
    executor_->Reset(Epoch(1));
  }

  static RowSpan Prefill(std::uint64_t id, std::int64_t first, std::size_t rows, bool sample) {
    RowSpan span;
    span.sequence = SequenceId(id);
    span.first_position = first;
    span.tokens = std::vector<Token>(rows, 5);
    span.sample = sample;
    return span;
  }
  static RowSpan Decode(std::uint64_t id, std::int64_t first) {
    RowSpan span;
    span.sequence = SequenceId(id);
    span.first_position = first;
    span.tokens = LastCommitted{};
    span.sample = true;
    return span;
  }

  // Step 1 of epoch 1: sequence 1 has run its prompt of 10 tokens and chosen one.
  static StepPlan First() {
    StepPlan plan;
    plan.epoch = Epoch(1);
    plan.step = Step(1);
    plan.open = {{SequenceId(1), Greedy(), 10}};
    plan.grants = {{SequenceId(1), {2}}};
    plan.spans = {Prefill(1, 0, 10, true)};
    return plan;
  }

  // Step 2 without anything to do.
  static StepPlan Second() {
    StepPlan plan;
    plan.epoch = Epoch(1);
    plan.step = Step(2);
    return plan;
  }

  // Each pair: what the refusal must say, and what to do to the second plan.
  using Case = std::pair<const char*, std::function<void(StepPlan*)>>;
  void ExpectRefused(const std::vector<Case>& cases) {
    for (const auto& [message, spoil] : cases) {
      executor_->Reset(Epoch(1));
      ASSERT_TRUE(executor_->Run(First()).ok());
      StepPlan plan = Second();
      spoil(&plan);
      EXPECT_THAT(std::string(executor_->Run(plan).status().message()), HasSubstr(message));
      // The epoch is over, for sound plans too.
      const auto after = executor_->Run(Second());
      EXPECT_EQ(after.status().code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_THAT(std::string(after.status().message()), HasSubstr("epoch 1 ended on this rank"));
    }
  }

  TickingClock clock_;
  std::unique_ptr<Executor> executor_;
};

TEST_F(ExecutorTest, RunsCloseOpenGrantsAndSpansInThatOrder) {
  const auto first = executor_->Run(First());
  ASSERT_TRUE(first.ok()) << first.status().message();
  EXPECT_EQ(first->sequences[0].position, 10);
  EXPECT_EQ(first->times.forward_ns, 1);
  EXPECT_EQ(first->times.sample_ns, 1);
  EXPECT_EQ(first->times.total_ns, 4);
  EXPECT_THAT(executor_->blocks_of(SequenceId(1)), ElementsAre(2));
  // What closes makes room for what opens, its blocks too.
  StepPlan plan = Second();
  plan.close = {SequenceId(1)};
  plan.open = {{SequenceId(2), {}, 300}, {SequenceId(3), Greedy(), 10}};
  plan.grants = {{SequenceId(2), {0}}, {SequenceId(3), {2}}};
  plan.spans = {Prefill(3, 0, 10, true), Prefill(2, 0, 256, false)};
  const auto second = executor_->Run(plan);
  ASSERT_TRUE(second.ok()) << second.status().message();
  ASSERT_EQ(second->sequences.size(), 1u);  // Only what was sampled.
  // State and blocks of another's are as good as new.
  EXPECT_EQ(second->sequences[0].tokens, first->sequences[0].tokens);
  EXPECT_TRUE(executor_->blocks_of(SequenceId(1)).empty());
}

// No token is left to one of two sequences: it says so, step after step until it is closed, and the
// other one's tokens are those it has alone.
TEST_F(ExecutorTest, GoesOnWithoutASequenceThatCannotBeSampled) {
  const Token alone = executor_->Run(First())->sequences[0].tokens[0].token;
  executor_->Reset(Epoch(2));
  StepPlan plan = First();
  plan.epoch = Epoch(2);
  SamplingParams impossible = Greedy();
  impossible.allowed_tokens = {4};
  impossible.min_tokens = 1;
  impossible.suppressed_until_min_tokens = {4};
  plan.open.push_back({SequenceId(2), impossible, 10});
  plan.grants.push_back({SequenceId(2), {1}});
  plan.spans.insert(plan.spans.begin(), Prefill(2, 0, 10, true));
  const auto first = executor_->Run(plan);
  ASSERT_TRUE(first.ok()) << first.status().message();
  EXPECT_EQ(first->sequences[0].fault, SamplingFault::kNoTokenAllowed);
  EXPECT_TRUE(first->sequences[0].tokens.empty());
  EXPECT_EQ(first->sequences[1].fault, SamplingFault::kNone);
  EXPECT_EQ(first->sequences[1].tokens[0].token, alone);

  StepPlan second = Second();
  second.epoch = Epoch(2);
  second.spans = {Decode(2, 10), Decode(1, 10)};
  const auto in_flight = executor_->Run(second);
  ASSERT_TRUE(in_flight.ok()) << in_flight.status().message();
  EXPECT_EQ(in_flight->sequences[0].fault, SamplingFault::kNoTokenAllowed);
  EXPECT_EQ(in_flight->sequences[1].tokens.size(), 1u);

  StepPlan third = Second();
  third.epoch = Epoch(2);
  third.step = Step(3);
  third.close = {SequenceId(2)};
  third.spans = {Decode(1, 11)};
  EXPECT_TRUE(executor_->Run(third).ok());
}

TEST_F(ExecutorTest, GivesForcedTokens) {
  StepPlan plan = First();
  plan.open[0].sampling.forced.tokens = {700, 3};
  EXPECT_EQ(executor_->Run(plan)->sequences[0].tokens[0].token, 700);
  StepPlan second = Second();
  second.spans = {Decode(1, 10)};
  EXPECT_EQ(executor_->Run(second)->sequences[0].tokens[0].token, 3);
}

TEST_F(ExecutorTest, GoesOnFromTheLastCommittedToken) {
  const Token chosen = executor_->Run(First())->sequences[0].tokens[0].token;
  StepPlan plan = Second();
  plan.spans = {Decode(1, kSequenceEnd)};
  const auto implied = executor_->Run(plan);
  ASSERT_TRUE(implied.ok()) << implied.status().message();
  EXPECT_EQ(implied->sequences[0].position, 11);

  executor_->Reset(Epoch(2));
  StepPlan first = First();
  first.epoch = plan.epoch = Epoch(2);
  ASSERT_TRUE(executor_->Run(first).ok());
  plan.spans = {Prefill(1, 10, 1, true)};
  plan.spans[0].tokens = std::vector<Token>{chosen};
  const auto literal = executor_->Run(plan);
  ASSERT_TRUE(literal.ok()) << literal.status().message();
  EXPECT_EQ(literal->sequences, implied->sequences);
  EXPECT_EQ(literal->digest, implied->digest);
}

// Of equal steps one after the other, the second choosing among what the first left.
TEST_F(ExecutorTest, PenalisesThePromptAndWhatWasGenerated) {
  const auto run = [&](std::uint64_t epoch, const SamplingParams& sampling, Token prompt) {
    executor_->Reset(Epoch(epoch));
    StepPlan plan = First();
    plan.epoch = Epoch(epoch);
    plan.open[0].sampling = sampling;
    plan.spans[0].tokens = std::vector<Token>(10, prompt);
    std::vector<Token> chosen = {executor_->Run(plan)->sequences[0].tokens[0].token};
    for (std::uint64_t step = 2; step <= 6; ++step) {
      StepPlan next;
      next.epoch = Epoch(epoch);
      next.step = Step(step);
      next.spans = {Decode(1, kSequenceEnd)};
      chosen.push_back(executor_->Run(next)->sequences[0].tokens[0].token);
    }
    return chosen;
  };
  const Token favourite = run(1, Greedy(), 5)[0];
  // A penalty that no logit outweighs: nothing is generated twice.
  SamplingParams presence = Greedy();
  presence.presence_penalty = 1e6f;
  std::vector<Token> chosen = run(2, presence, 5);
  EXPECT_EQ(chosen[0], favourite);
  std::sort(chosen.begin(), chosen.end());
  EXPECT_EQ(std::unique(chosen.begin(), chosen.end()), chosen.end());
  // A bias that no logit outweighs is undone by a penalty per occurrence: the fourth time it loses.
  SamplingParams frequency = Greedy();
  frequency.logit_bias = {{7, 3.5e6f}};
  frequency.frequency_penalty = 1e6f;
  chosen = run(3, frequency, 5);
  EXPECT_EQ(std::count(chosen.begin(), chosen.end(), 7), 4);
  EXPECT_EQ(chosen[3], 7);
  // Only the repetition penalty minds the prompt.
  SamplingParams repetition = Greedy();
  repetition.logit_bias = {{7, 1e6f}};
  EXPECT_EQ(run(4, repetition, 7)[0], 7);
  repetition.presence_penalty = 1e6f;
  repetition.frequency_penalty = 1e6f;
  EXPECT_EQ(run(5, repetition, 7)[0], 7);
  repetition.repetition_penalty = 1e9f;
  repetition.presence_penalty = repetition.frequency_penalty = 0;
  EXPECT_NE(run(6, repetition, 7)[0], 7);
  EXPECT_EQ(run(7, repetition, 5)[0], 7);
}

TEST_F(ExecutorTest, DigestsCoverWhatIsSaid) {
  const auto digest = [&](std::uint64_t epoch, std::int32_t top_logprobs) {
    executor_->Reset(Epoch(epoch));
    StepPlan plan = First();
    plan.epoch = Epoch(epoch);
    plan.open[0].sampling.top_logprobs = top_logprobs;
    return executor_->Run(plan)->digest;
  };
  EXPECT_EQ(digest(2, -1), digest(3, -1));
  EXPECT_NE(digest(4, -1), digest(5, 0));
  EXPECT_NE(digest(6, 1), digest(7, 2));
}

TEST_F(ExecutorTest, RefusesSequencesAndBlocksThatContradictItsState) {
  ExpectRefused({
      {"epoch 2 step 2, expected epoch 1 step 2", [](StepPlan* p) { p->epoch = Epoch(2); }},
      {"epoch 1 step 3, expected epoch 1 step 2", [](StepPlan* p) { p->step = Step(3); }},
      {"epoch 1 step 1, expected epoch 1 step 2", [](StepPlan* p) { p->step = Step(1); }},
      {"sequence 7 is not open and cannot be closed",
       [](StepPlan* p) { p->close = {SequenceId(7)}; }},
      {"sequence 1 is open already",
       [](StepPlan* p) {
         p->open = {{SequenceId(1), {}, 5}};
       }},
      {"sequence 3 is one more than the 2",
       [](StepPlan* p) {
         p->open = {{SequenceId(2), {}, 5}, {SequenceId(3), {}, 5}};
       }},
      {"sequence 2 suppresses token 1024, the vocabulary has 1024",
       [](StepPlan* p) {
         p->open = {{SequenceId(2), {}, 5}};
         p->open[0].sampling.suppressed_until_min_tokens = {1024};
       }},
      {"sequence 2 biases token 1024, the vocabulary has 1024",
       [](StepPlan* p) {
         p->open = {{SequenceId(2), {}, 5}};
         p->open[0].sampling.logit_bias = {{3, 1.0f}, {1024, 1.0f}};
       }},
      {"sequence 7 is not open and cannot be granted",
       [](StepPlan* p) {
         p->grants = {{SequenceId(7), {0}}};
       }},
      {"sequence 1 is granted KV block 4, the pool has 4",
       [](StepPlan* p) {
         p->grants = {{SequenceId(1), {4}}};
       }},
      {"sequence 1 is granted KV block 2, which sequence 1 owns",
       [](StepPlan* p) {
         p->grants = {{SequenceId(1), {2}}};
       }},
  });
}

TEST_F(ExecutorTest, RefusesSpansThatContradictItsState) {
  ExpectRefused({
      {"sequence 7 is not open and cannot be run",
       [](StepPlan* p) { p->spans = {Prefill(7, 0, 1, false)}; }},
      {"sequence 1 has 10 rows, the span begins at position 11",
       [](StepPlan* p) { p->spans = {Decode(1, 11)}; }},
      {"sequence 1 has 10 rows, the span begins at position 9",
       [](StepPlan* p) { p->spans = {Prefill(1, 9, 1, false)}; }},
      {"sequence 2 has no committed token",
       [](StepPlan* p) {
         p->open = {{SequenceId(2), {}, 5}};
         p->grants = {{SequenceId(2), {0}}};
         p->spans = {Decode(2, 0)};
       }},
      {"sequence 2 is to choose a token at position 4 of a prompt of 5",
       [](StepPlan* p) {
         p->open = {{SequenceId(2), {}, 5}};
         p->grants = {{SequenceId(2), {0}}};
         p->spans = {Prefill(2, 0, 4, true)};
       }},
      {"sequence 1 owns 1 KV blocks, which do not hold 257 tokens",
       [](StepPlan* p) { p->spans = {Prefill(1, 10, 247, false)}; }},
      {"sequence 1 is to verify 2 drafts, this rank has no drafter",
       [](StepPlan* p) {
         p->spans = {Decode(1, 10)};
         p->spans[0].draft_tokens_max = 2;
       }},
      {"step 2 has 301 rows: at most 300",
       [](StepPlan* p) {
         p->grants = {{SequenceId(1), {0}}};
         p->spans = {Prefill(1, 10, 301, false)};
       }},
      {"token 5000 is not in the vocabulary",
       [](StepPlan* p) {
         p->spans = {Prefill(1, 10, 1, false)};
         p->spans[0].tokens = std::vector<Token>{5000};
       }},
  });
}

TEST_F(ExecutorTest, NeedsAnEpochAndSoundOptions) {
  auto model = LoaderOf("deploy/demo/model", 1, {})(Rank(0), nullptr).value();
  const kernels::CacheLayout layout = model->cache_layout();
  const auto refused = Executor::Create(
      LoaderOf("deploy/demo/model", 1, {})(Rank(0), nullptr).value(), nullptr, {}, &clock_);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("kv_blocks is 0"));
  const auto fresh = Executor::Create(std::move(model),
                                      nullptr,
                                      {.kv_blocks = 1, .sequences_max = 1, .step_rows_max = 16},
                                      &clock_);
  const RankMemory memory = (*fresh)->Shape().memory[0];
  EXPECT_EQ(memory.kv_bytes, layout.block_bytes);
  EXPECT_EQ(memory.state_bytes, layout.state_bytes);
  EXPECT_THAT(std::string((*fresh)->Run(First()).status().message()), HasSubstr("no epoch"));
}

}  // namespace
}  // namespace sparkspan::engine::runtime
