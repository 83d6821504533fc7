// The scheduler as a seeded random state machine: thousands of steps of requests that come, are
// cancelled and end, against ranks that check every plan as the executor does.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "engine/base/hash.h"
#include "engine/schedule/scheduler.h"

namespace sparkspan::engine::schedule {
namespace {

using runtime::RowSpan;
using runtime::StepPlan;
using runtime::StepResult;

constexpr Token kEndToken = 3;

// What every rank would commit: a function of the sequence and the position.
Token TokenAt(SequenceId sequence, std::int64_t position) {
  const std::uint64_t hash = CombineHash(sequence.value(), static_cast<std::uint64_t>(position));
  return static_cast<Token>(hash % 40);
}

// A rank that does not compute: it holds plans to what executor.h demands.
class StrictRank {
 public:
  explicit StrictRank(const SchedulerOptions& options) : options_(options) {}

  void Reset(Epoch epoch) {
    epoch_ = epoch;
    step_ = 0;
    sequences_.clear();
    owner_.clear();
  }

  StepResult Run(const StepPlan& plan, std::mt19937* random) {
    EXPECT_EQ(plan.epoch, epoch_);
    EXPECT_EQ(plan.step.value(), ++step_);
    for (const SequenceId id : plan.close) {
      EXPECT_EQ(sequences_.erase(id), 1u) << "closed, but not open";
      std::erase_if(owner_, [&](const auto& entry) { return entry.second == id; });
    }
    for (const auto& open : plan.open) {
      EXPECT_TRUE(sequences_.emplace(open.sequence, State{}).second) << "opened twice";
      EXPECT_TRUE(ever_.insert(open.sequence).second) << "an id used again";
    }
    EXPECT_LE(sequences_.size(), static_cast<std::size_t>(options_.running_max));
    for (const auto& grant : plan.grants) {
      for (const std::int32_t block : grant.blocks) {
        EXPECT_TRUE(block >= 0 && block < options_.kv_blocks);
        EXPECT_TRUE(owner_.emplace(block, grant.sequence).second) << "owned twice";
        ++sequences_.at(grant.sequence).blocks;
      }
    }
    StepResult result;
    result.epoch = plan.epoch;
    result.step = plan.step;
    std::int64_t rows = 0;
    for (const RowSpan& span : plan.spans) {
      rows += RunSpan(span, random, &result);
    }
    EXPECT_LE(rows, options_.step_rows_max);
    return result;
  }

  std::size_t owned_blocks() const { return owner_.size(); }

 private:
  struct State {
    std::int64_t length = 0;
    std::int64_t blocks = 0;
    bool committed = false;
    std::int32_t proposed = 0;
  };

  std::int64_t RunSpan(const RowSpan& span, std::mt19937* random, StepResult* result) {
    State& state = sequences_.at(span.sequence);
    EXPECT_EQ(span.first_position, state.length);
    const auto* tokens = std::get_if<std::vector<Token>>(&span.tokens);
    EXPECT_TRUE(tokens != nullptr || state.committed);
    const std::int64_t rows = tokens == nullptr ? 1 : static_cast<std::int64_t>(tokens->size());
    // A draft block plus one may be written beyond the rows themselves.
    const std::int64_t drafted = span.draft_tokens_max;
    EXPECT_GE(state.blocks * options_.kv_block_tokens, state.length + rows + drafted);
    state.length += rows;
    state.committed = span.sample;
    if (span.sample) {
      runtime::SequenceTokens& out = result->sequences.emplace_back();
      out.sequence = span.sequence;
      out.position = state.length;
      out.drafted = static_cast<std::int32_t>(drafted);
      out.accepted = static_cast<std::int32_t>(
          (*random)() % static_cast<std::uint32_t>(span.draft_tokens_max + 1));
      for (std::int32_t i = 0; i <= out.accepted; ++i) {
        out.tokens.push_back({TokenAt(span.sequence, state.length + i), std::nullopt, {}});
      }
      state.length += out.accepted;
      out.proposed =
          span.propose
              ? static_cast<std::int32_t>((*random)() %
                                          static_cast<std::uint32_t>(options_.draft_tokens_max + 1))
              : 0;
      for (std::int32_t i = 0; i < out.proposed; ++i) {
        out.confidence.push_back(static_cast<float>((*random)() % 8) - 3);
      }
      EXPECT_LE(out.drafted, state.proposed);
      state.proposed = out.proposed;
    }
    return rows + drafted;
  }

  SchedulerOptions options_;
  Epoch epoch_;
  std::uint64_t step_ = 0;
  std::map<SequenceId, State> sequences_;
  std::map<std::int32_t, SequenceId> owner_;
  std::set<SequenceId> ever_;
};

struct Admitted {
  std::int64_t prompt = 0;
  std::int64_t max_tokens = 0;
  std::int64_t min_tokens = 0;
  std::vector<Token> tokens;
  bool ended = false;  // finished, cancelled or lost with an epoch
};

// The tokens that a request must get, whoever else is served.
std::vector<Token> Expected(SequenceId id, const Admitted& request) {
  std::vector<Token> tokens;
  while (static_cast<std::int64_t>(tokens.size()) < request.max_tokens) {
    tokens.push_back(TokenAt(id, request.prompt + static_cast<std::int64_t>(tokens.size())));
    if (tokens.back() == kEndToken &&
        static_cast<std::int64_t>(tokens.size()) >= request.min_tokens) {
      break;
    }
  }
  return tokens;
}

class Machine {
 public:
  Machine(const SchedulerOptions& options, std::uint32_t seed)
      : scheduler_(Scheduler::Create(options).value()), rank_(options), random_(seed) {
    rank_.Reset(options.epoch);
  }

  // One event of a server's life.
  void Act() {
    now_ += std::chrono::milliseconds(1);
    switch (random_() % 16) {
      case 0:
      case 1:
      case 2:
        Admit();
        break;
      case 3:
        CancelAny();
        break;
      case 4:
        if (random_() % 64 == 0) {
          LoseEpoch();
        }
        break;
      case 5:
      case 6:
      case 7:
      case 8:
      case 9:
        AbsorbOldest();
        break;
      default:
        Plan();
    }
  }

  // Serves what is left, in a bounded number of steps, and checks that nothing remains.
  void Drain() {
    for (int steps = 0; scheduler_.HasWork() || !in_flight_.empty(); ++steps) {
      ASSERT_LT(steps, 100000) << "requests starve";
      Plan();
      AbsorbOldest();
    }
    const ScheduleStats stats = scheduler_.Stats();
    EXPECT_EQ(stats.running, 0);
    EXPECT_EQ(stats.waiting, 0);
    EXPECT_EQ(stats.kv_blocks_used, 0);
    EXPECT_EQ(rank_.owned_blocks(), 0u);
    for (const auto& [id, request] : requests_) {
      EXPECT_TRUE(request.ended) << "sequence " << id;
    }
    EXPECT_EQ(stats.finished_total, finished_);
    EXPECT_EQ(stats.cancelled_total, cancelled_);
  }

  std::uint64_t finished() const { return finished_; }
  std::uint64_t plans() const { return plans_; }
  std::uint64_t epochs_lost() const { return epochs_lost_; }
  std::uint64_t digest() const { return digest_; }

 private:
  void Admit() {
    Request request;
    request.prompt.resize(1 + random_() % (random_() % 3 == 0 ? 900 : 60));
    request.max_tokens = 1 + static_cast<std::int64_t>(random_() % 60);
    request.sampling.min_tokens = random_() % 2 == 0 ? static_cast<std::int32_t>(random_() % 5) : 0;
    request.end_tokens = {kEndToken};
    request.arrival = now_;
    Admitted admitted{.prompt = static_cast<std::int64_t>(request.prompt.size()),
                      .max_tokens = request.max_tokens,
                      .min_tokens = request.sampling.min_tokens,
                      .tokens = {},
                      .ended = false};
    const std::int64_t waiting = scheduler_.Stats().waiting;
    const auto id = scheduler_.Admit(std::move(request), now_);
    EXPECT_EQ(id.ok(), waiting < scheduler_.options().waiting_max);
    if (id.ok()) {
      EXPECT_TRUE(requests_.emplace(*id, std::move(admitted)).second);
      queue_.push_back(*id);
    }
  }

  void CancelAny() {
    if (requests_.empty()) {
      return;
    }
    // Finished ones too: that must do nothing.
    const SequenceId id(1 + random_() % requests_.rbegin()->first.value());
    Admitted& request = requests_.at(id);
    cancelled_ += request.ended ? 0 : 1;
    request.ended = true;
    std::erase(queue_, id);
    scheduler_.Cancel(id);
  }

  void Plan() {
    if (!scheduler_.HasWork()) {
      return;
    }
    ++plans_;
    StepPlan plan = scheduler_.Plan(now_);
    EXPECT_FALSE(plan.close.empty() && plan.spans.empty()) << "a plan that does nothing";
    for (const auto& open : plan.open) {  // first come, first served
      ASSERT_FALSE(queue_.empty());
      EXPECT_EQ(open.sequence, queue_.front());
      queue_.erase(queue_.begin());
    }
    for (const RowSpan& span : plan.spans) {
      digest_ = CombineHash(digest_, span.sequence.value());
      digest_ = CombineHash(digest_, static_cast<std::uint64_t>(span.first_position));
    }
    in_flight_.push_back(std::move(plan));
    const auto used = static_cast<std::size_t>(scheduler_.Stats().kv_blocks_used);
    EXPECT_LE(used, static_cast<std::size_t>(scheduler_.options().kv_blocks));
  }

  void AbsorbOldest() {
    if (in_flight_.empty()) {
      return;
    }
    const StepResult result = rank_.Run(in_flight_.front(), &random_);
    in_flight_.erase(in_flight_.begin());
    if (random_() % 8 == 0) {  // A doubtful result changes nothing.
      StepResult wrong = result;
      wrong.step = Step(wrong.step.value() + 1);
      EXPECT_FALSE(scheduler_.Absorb(wrong).ok());
    }
    const auto events = scheduler_.Absorb(result);
    ASSERT_TRUE(events.ok()) << events.status().message();
    for (const TokenEvent& event : *events) {
      Admitted& request = requests_.at(event.sequence);
      EXPECT_FALSE(request.ended) << "an event after the end of " << event.sequence;
      for (const runtime::CommittedToken& token : event.tokens) {
        request.tokens.push_back(token.token);
      }
      const std::vector<Token> expected = Expected(event.sequence, request);
      ASSERT_LE(request.tokens.size(), expected.size());
      if (event.finish.has_value()) {
        EXPECT_EQ(request.tokens, expected);
        EXPECT_EQ(event.finish->reason == FinishReason::kStop,
                  expected.back() == kEndToken &&
                      static_cast<std::int64_t>(expected.size()) >= request.min_tokens);
        request.ended = true;
        ++finished_;
      } else {
        EXPECT_LT(request.tokens.size(), expected.size());
      }
    }
  }

  void LoseEpoch() {
    const Epoch next(scheduler_.options().epoch.value() + 1);
    for (const SequenceId id : scheduler_.Reset(next)) {
      Admitted& request = requests_.at(id);
      EXPECT_FALSE(request.ended) << "reported twice";
      request.ended = true;
    }
    in_flight_.clear();
    rank_.Reset(next);
    EXPECT_EQ(scheduler_.Stats().kv_blocks_used, 0);
    ++epochs_lost_;
  }

  Scheduler scheduler_;
  StrictRank rank_;
  std::mt19937 random_;
  Time now_{std::chrono::seconds(1)};
  std::map<SequenceId, Admitted> requests_;
  std::vector<SequenceId> queue_;  // waiting, in order of arrival
  std::vector<StepPlan> in_flight_;
  std::uint64_t finished_ = 0;
  std::uint64_t cancelled_ = 0;
  std::uint64_t plans_ = 0;
  std::uint64_t epochs_lost_ = 0;
  std::uint64_t digest_ = 0;
};

struct Scale {
  const char* name;
  std::int32_t kv_blocks;
  std::int32_t running_max;
  std::int64_t step_rows_max;
  std::int32_t plans_in_flight_max;
  std::int32_t draft_tokens_max;
};

class RandomSchedule : public ::testing::TestWithParam<Scale> {
 protected:
  static SchedulerOptions Options() {
    const Scale& scale = GetParam();
    SchedulerOptions options;
    options.kv_blocks = scale.kv_blocks;
    options.running_max = scale.running_max;
    options.waiting_max = 10;
    options.step_rows_max = scale.step_rows_max;
    options.context_tokens_max = 1024;
    options.plans_in_flight_max = scale.plans_in_flight_max;
    options.draft_tokens_max = scale.draft_tokens_max;
    options.epoch = Epoch(1);
    return options;
  }
};

TEST_P(RandomSchedule, KeepsItsInvariants) {
  std::uint64_t finished = 0;
  std::uint64_t plans = 0;
  std::uint64_t epochs_lost = 0;
  for (std::uint32_t seed = 1; seed <= 6; ++seed) {
    Machine machine(Options(), seed);
    for (int i = 0; i < 6000; ++i) {
      machine.Act();
    }
    machine.Drain();
    if (HasFailure()) {
      FAIL() << "with seed " << seed;
    }
    finished += machine.finished();
    plans += machine.plans();
    epochs_lost += machine.epochs_lost();
  }
  // Else the machine would have tested nothing.
  EXPECT_GT(finished, 200u);
  EXPECT_GT(plans, 5000u);
  EXPECT_GT(epochs_lost, 3u);
  RecordProperty("finished", static_cast<int>(finished));
  RecordProperty("plans", static_cast<int>(plans));
}

TEST_P(RandomSchedule, SameCallsGiveTheSamePlans) {
  std::vector<std::uint64_t> digests;
  for (const std::uint32_t seed : {7u, 7u, 8u}) {
    Machine machine(Options(), seed);
    for (int i = 0; i < 2000; ++i) {
      machine.Act();
    }
    machine.Drain();
    digests.push_back(machine.digest());
  }
  EXPECT_EQ(digests[0], digests[1]);
  EXPECT_NE(digests[0], digests[2]);
}

INSTANTIATE_TEST_SUITE_P(Scales,
                         RandomSchedule,
                         ::testing::Values(Scale{"roomy", 64, 8, 512, 1, 0},
                                           Scale{"few_blocks", 5, 8, 512, 1, 0},
                                           Scale{"small_steps", 16, 4, 4, 1, 0},
                                           Scale{"ahead", 12, 6, 200, 2, 0},
                                           Scale{"ahead_few_blocks", 5, 3, 130, 2, 0},
                                           Scale{"drafts", 12, 6, 140, 1, 5}),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace sparkspan::engine::schedule
