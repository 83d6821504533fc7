// Drafted = serial: whatever is drafted and however much of it stands, greedy text, its logits and
// the state it leaves are those of decoding token by token.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/hash.h"
#include "engine/draft/scripted_drafter.h"
#include "engine/runtime/executor.h"
#include "tests/golden_path.h"
#include "tests/unit/engine/runtime/loaded_model.h"
#include "tests/unit/engine/runtime/served_texts.h"

namespace sparkspan::engine::runtime {
namespace {

using ::testing::HasSubstr;

// Below every vocabulary of the models used.
constexpr Token kTokenIds = 500;

struct TestedModel {
  const char* name;
  kernels::numerics::NumericsProfile numerics;
};

constexpr TestedModel kDemo = {"demo", kernels::numerics::kQuantised};

std::optional<std::filesystem::path> FolderOf(const TestedModel& tested) {
  return std::string_view(tested.name) == "demo" ? std::filesystem::path("deploy/demo/model")
                                                 : tests::GoldenPath(tested.name);
}

constexpr int kBlock = 5;
constexpr int kRewind = kBlock + 1;

SamplingParams Greedy() {
  SamplingParams sampling;
  sampling.temperature = 0;
  sampling.top_logprobs = 2;  // so that the logits' bits are compared, too
  return sampling;
}

model::ModelOptions Options(const TestedModel& tested) {
  model::ModelOptions options;
  options.numerics = tested.numerics;
  options.rewind_rows_max = kRewind;
  return options;
}

std::vector<Token> Prompt(std::size_t size, std::uint64_t seed) {
  std::vector<Token> prompt;
  for (std::size_t i = 0; i < size; ++i) {
    prompt.push_back(static_cast<Token>(CombineHash(seed, i) % kTokenIds));
  }
  return prompt;
}

// One sequence on one rank, driven step by step.
class Single {
 public:
  Single(const TestedModel& tested, std::unique_ptr<draft::Drafter> drafter) {
    auto model = LoaderOf(*FolderOf(tested), 1, Options(tested))(Rank(0), nullptr).value();
    executor_ = Executor::Create({std::move(model), std::move(drafter)},
                                 nullptr,
                                 {.kv_blocks = 8, .sequences_max = 1, .step_rows_max = 2048},
                                 &clock_)
                    .value();
  }

  // Runs the prompt and chooses a token; ends what ran before.
  void Open(const std::vector<Token>& prompt, bool propose) {
    executor_->Reset(Epoch(++epoch_));
    step_ = 0;
    text_.clear();
    StepPlan plan = Next();
    plan.open = {{SequenceId(1), Greedy(), static_cast<std::int64_t>(prompt.size())}};
    plan.grants = {{SequenceId(1), {0, 1, 2, 3, 4, 5, 6, 7}}};
    RowSpan span;
    span.sequence = SequenceId(1);
    span.tokens = prompt;
    span.sample = true;
    span.propose = propose;
    plan.spans = {span};
    length_ = static_cast<std::int64_t>(prompt.size()) - 1;
    Run(plan);
  }

  // One decode step; gives how many drafts stood.
  std::int32_t Decode(std::int32_t drafts, bool propose) {
    StepPlan plan = Next();
    RowSpan span;
    span.sequence = SequenceId(1);
    span.first_position = kSequenceEnd;
    span.tokens = LastCommitted{};
    span.sample = true;
    span.draft_tokens_max = drafts;
    span.propose = propose;
    plan.spans = {span};
    return Run(plan);
  }

  // Rows that were run and stand.
  std::int64_t length() const { return length_; }
  const std::vector<CommittedToken>& text() const { return text_; }

  // Of everything that later steps read: the window, the compressors' open groups, the compressed
  // entries and index keys.
  std::uint64_t LiveState() const {
    const kernels::CacheLayout& layout = executor_->model().cache_layout();
    const int window = executor_->model().parts().shape.window;
    std::uint64_t hash = 0;
    const auto mix = [&](std::span<const std::byte> bytes) { hash = Hash64(bytes, hash); };
    const std::span<const std::byte> state = executor_->state_of(SequenceId(1));
    const auto ring =
        [&](std::int64_t offset, std::int64_t slots, std::int64_t bytes, std::int64_t from) {
          for (std::int64_t p = std::max<std::int64_t>(0, from); p < length_ && slots > 0; ++p) {
            mix(state.subspan(static_cast<std::size_t>(offset + p % slots * bytes),
                              static_cast<std::size_t>(bytes)));
          }
        };
    for (const kernels::LayerCacheLayout& layer : layout.layers) {
      ring(layer.window_offset, layout.window_slots, layout.entry_bytes, length_ - window);
      if (layer.ratio == 0) {
        continue;
      }
      const std::int64_t group = length_ / layer.ratio * layer.ratio;
      const std::int64_t from = layer.ratio == kernels::kOverlapRatio ? group - layer.ratio : group;
      for (const kernels::CompressorRing* r : {&layer.compressor, &layer.index_compressor}) {
        ring(r->offset, r->slots, r->slot_bytes(), from);
      }
      const std::span<const std::int32_t> blocks = executor_->blocks_of(SequenceId(1));
      for (std::int64_t entry = 0; entry < length_ / layer.ratio; ++entry) {
        const std::span<std::byte> block = executor_->pool().block(
            blocks[static_cast<std::size_t>(entry / layer.entries_per_block)]);
        const auto within = static_cast<std::size_t>(entry % layer.entries_per_block);
        const auto bytes = static_cast<std::size_t>(layout.entry_bytes);
        mix(block.subspan(static_cast<std::size_t>(layer.entries_offset) + within * bytes, bytes));
        if (layer.ratio == kernels::kOverlapRatio) {
          const auto key = static_cast<std::size_t>(layout.key_bytes);
          mix(block.subspan(static_cast<std::size_t>(layer.keys_offset) + within * key, key));
        }
      }
    }
    return hash;
  }

 private:
  StepPlan Next() {
    StepPlan plan;
    plan.epoch = Epoch(epoch_);
    plan.step = Step(++step_);
    return plan;
  }

  std::int32_t Run(const StepPlan& plan) {
    const auto result = executor_->Run(plan);
    EXPECT_TRUE(result.ok()) << result.status().message();
    const SequenceTokens& tokens = result->sequences.at(0);
    text_.insert(text_.end(), tokens.tokens.begin(), tokens.tokens.end());
    length_ += static_cast<std::int64_t>(tokens.tokens.size());
    return tokens.accepted;
  }

  SteadyClock clock_;
  std::unique_ptr<Executor> executor_;
  std::uint64_t epoch_ = 0;
  std::uint64_t step_ = 0;
  std::int64_t length_ = 0;
  std::vector<CommittedToken> text_;
};

// What decoding token by token gives: the text, and the live state after each of its tokens.
struct Serial {
  std::vector<CommittedToken> text;
  std::vector<std::uint64_t> states;

  Serial(const TestedModel& tested, const std::vector<Token>& prompt, std::size_t tokens) {
    Single single(tested, nullptr);
    single.Open(prompt, false);
    states.push_back(single.LiveState());
    while (single.text().size() < tokens) {
      single.Decode(0, false);
      states.push_back(single.LiveState());
    }
    text = single.text();
  }
};

// Drafts the known text, with a wrong token after `right` of them.
std::unique_ptr<draft::Drafter> Oracle(const Serial& serial,
                                       std::size_t prompt,
                                       const std::int32_t* right) {
  return std::make_unique<draft::ScriptedDrafter>(
      kBlock,
      [&serial, prompt, right](
          const draft::DraftRequest& request, std::span<Token> tokens, std::span<float>) {
        const auto first = static_cast<std::size_t>(request.anchor_position) + 1 - prompt;
        for (std::size_t i = 0; i < tokens.size(); ++i) {
          tokens[i] = first + i < serial.text.size() ? serial.text[first + i].token : 0;
        }
        if (*right < kBlock) {
          Token& wrong = tokens[static_cast<std::size_t>(*right)];
          wrong = (wrong + 1) % kTokenIds;
        }
      });
}

// Every forced accept length from every offset mod 128, and so mod 4. Steps of one accept length
// begin at positions that advance by it; where that misses offsets, further runs begin later.
class DraftedState : public ::testing::TestWithParam<TestedModel> {
 protected:
  void SetUp() override {
    if (!FolderOf(GetParam()).has_value()) {
      GTEST_SKIP() << "no golden data '" << GetParam().name << "'";
    }
  }
};

TEST_P(DraftedState, OfEveryAcceptLengthAtEveryOffsetIsTheSerialOne) {
  constexpr int kOffsets = 128;
  const std::vector<Token> prompt = Prompt(3, 1);
  const Serial serial(GetParam(), prompt, static_cast<std::size_t>(kOffsets) * kBlock + 10);
  std::int32_t right = 0;
  Single drafted(GetParam(), Oracle(serial, prompt.size(), &right));
  for (right = 0; right <= kBlock; ++right) {
    std::set<std::int64_t> offsets;
    const int runs = std::gcd(right + 1, kOffsets);
    for (int later = 0; later < runs; ++later) {
      drafted.Open(prompt, true);
      for (int i = 0; i < later; ++i) {
        drafted.Decode(0, true);
      }
      for (int step = 0; step < kOffsets / runs; ++step) {
        offsets.insert(drafted.length() % kOffsets);
        ASSERT_EQ(drafted.Decode(kBlock, true), right);
        ASSERT_EQ(drafted.LiveState(), serial.states[drafted.text().size() - 1])
            << right << " of " << kBlock << " accepted, " << drafted.length() << " rows";
      }
      ASSERT_TRUE(std::equal(drafted.text().begin(), drafted.text().end(), serial.text.begin()));
    }
    EXPECT_EQ(offsets.size(), static_cast<std::size_t>(kOffsets)) << right;
  }
}

INSTANTIATE_TEST_SUITE_P(Models,
                         DraftedState,
                         ::testing::Values(kDemo,
                                           TestedModel{"dspark-a", kernels::numerics::kQuantised},
                                           TestedModel{"dspark-c",
                                                       kernels::numerics::kUnquantised}),
                         [](const auto& tested) {
                           std::string name = tested.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// A control: the comparison sees one wrong row.
TEST(Drafts, TheComparisonSeesAnotherToken) {
  const std::vector<Token> prompt = Prompt(30, 2);
  Single one(kDemo, nullptr);
  one.Open(prompt, false);
  std::vector<Token> other = prompt;
  other[17] += 1;
  Single two(kDemo, nullptr);
  two.Open(other, false);
  EXPECT_NE(one.LiveState(), two.LiveState());
}

TEST(Drafts, VerifiesOnlyWhatWasProposed) {
  const std::vector<Token> prompt = Prompt(20, 3);
  const Serial serial(kDemo, prompt, 40);
  std::int32_t right = kBlock;
  Single drafted(kDemo, Oracle(serial, prompt.size(), &right));
  drafted.Open(prompt, false);
  EXPECT_EQ(drafted.Decode(kBlock, true), 0);  // Nothing was proposed.
  EXPECT_EQ(drafted.Decode(2, false), 2);      // Two of five.
  EXPECT_EQ(drafted.Decode(kBlock, true), 0);  // Proposals do not outlive a step.
  EXPECT_EQ(drafted.Decode(kBlock, true), kBlock);
  EXPECT_TRUE(std::equal(drafted.text().begin(), drafted.text().end(), serial.text.begin()));
}

TEST(Drafts, NeedAModelThatCanTakeThemBack) {
  SteadyClock clock;
  model::ModelOptions options;
  options.rewind_rows_max = kBlock;
  auto model = LoaderOf(*FolderOf(kDemo), 1, options)(Rank(0), nullptr).value();
  auto drafter = std::make_unique<draft::ScriptedDrafter>(kBlock, [](const auto&, auto, auto) {});
  const auto refused = Executor::Create({std::move(model), std::move(drafter)},
                                        nullptr,
                                        {.kv_blocks = 1, .sequences_max = 1, .step_rows_max = 8},
                                        &clock);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("rewind_rows_max"));
}

// Serves with an oracle that is right or wrong by the position, so that all accept lengths occur.
// The texts are told apart by their seeds.
Texts ServeDrafted(const std::vector<Asked>& asked,
                   int ranks,
                   schedule::VerificationPolicy policy,
                   const Texts& known) {
  const auto script =
      [&](const draft::DraftRequest& request, std::span<Token> tokens, std::span<float>) {
        const auto index = static_cast<std::size_t>(request.seed);
        const auto first =
            static_cast<std::size_t>(request.anchor_position) + 1 - asked[index].prompt.size();
        for (std::size_t i = 0; i < tokens.size(); ++i) {
          tokens[i] = first + i < known[index].size() ? known[index][first + i].token : 0;
        }
        const std::uint64_t wrong =
            CombineHash(request.seed, static_cast<std::uint64_t>(request.anchor_position)) %
            (kBlock + 1);
        if (wrong < kBlock) {
          tokens[wrong] = (tokens[wrong] + 1) % kTokenIds;
        }
      };
  const auto load = LoaderOf(*FolderOf(kDemo), ranks, Options(kDemo));
  schedule::ScheduleStats stats;
  Texts texts = ServeTexts(
      asked,
      {.ranks = ranks,
       .policy = policy,
       .load = [&](Rank rank, collective::Communicator* communicator) -> absl::StatusOr<RankModel> {
         ASSIGN_OR_RETURN(auto model, load(rank, communicator));
         return RankModel(std::move(model),
                          std::make_unique<draft::ScriptedDrafter>(kBlock, script));
       }},
      &stats);
  EXPECT_GT(stats.accepted_tokens_total, 0u);
  EXPECT_LT(stats.accepted_tokens_total, stats.draft_tokens_total);
  return texts;
}

Texts ServePlain(const std::vector<Asked>& asked, int ranks) {
  return ServeTexts(asked,
                    {.ranks = ranks, .load = LoaderOf(*FolderOf(kDemo), ranks, Options(kDemo))});
}

TEST(Drafts, WithSevenOthersJoiningAndLeavingTheTextIsTheSerialOne) {
  std::vector<Asked> asked;
  for (std::uint64_t i = 0; i < 8; ++i) {
    asked.push_back(
        {Prompt(3 + 37 * i % 190, 10 + i), static_cast<std::int64_t>(20 + 13 * i), Greedy()});
    asked.back().sampling.seed = i;
  }
  Texts alone;
  for (const Asked& one : asked) {
    alone.push_back(ServePlain({one}, 1)[0]);
  }
  for (const int ranks : {1, 2}) {
    if (ranks > 1) {  // The number of ranks is part of what the bits depend on.
      alone = ServePlain(asked, ranks);
    }
    for (const auto policy : {schedule::VerificationPolicy::kFixed,
                              schedule::VerificationPolicy::kThreshold,
                              schedule::VerificationPolicy::kHardware}) {
      EXPECT_EQ(ServeDrafted(asked, ranks, policy, alone), alone)
          << ToString(policy) << " on " << ranks << " ranks";
    }
  }
}

}  // namespace
}  // namespace sparkspan::engine::runtime
