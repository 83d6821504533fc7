#include "engine/runtime/plan_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <random>
#include <span>

#include "proto/sparkspan/v1/plan.pb.h"

namespace sparkspan::engine::runtime {
namespace {

using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Draws values of plans, the extremes of their ranges above all.
class Draws {
 public:
  explicit Draws(std::uint32_t seed) : random_(seed) {}

  std::int64_t Number(std::int64_t least, std::int64_t most) {
    switch (random_() % 4) {
      case 0:
        return least;
      case 1:
        return most;
      default:
        return std::uniform_int_distribution<std::int64_t>(least, most)(random_);
    }
  }
  std::int32_t Int(std::int32_t least, std::int32_t most) {
    return static_cast<std::int32_t>(Number(least, most));
  }
  std::size_t Count(std::size_t most) { return random_() % (most + 1); }
  bool Coin() { return random_() % 2 == 0; }
  float Float(float least, float most) {
    return Coin() ? least : std::uniform_real_distribution<float>(least, most)(random_);
  }
  std::vector<std::int32_t> Ints(std::size_t most) {
    std::vector<std::int32_t> ints(1 + Count(most - 1));
    for (std::int32_t& value : ints) {
      value = Int(0, kInt32Max);
    }
    return ints;
  }
  SequenceId NextSequence() { return SequenceId(next_ += 1 + Count(1000)); }

  static constexpr std::int32_t kInt32Max = std::numeric_limits<std::int32_t>::max();

 private:
  std::mt19937 random_;
  std::uint64_t next_ = 0;
};

SamplingParams RandomSampling(Draws* draws) {
  SamplingParams sampling;
  sampling.temperature = draws->Float(0, 2);
  sampling.top_p = draws->Float(1, 1) - draws->Float(0, 0.9f);
  sampling.top_k = draws->Int(0, Draws::kInt32Max);
  sampling.min_p = draws->Float(0, 1);
  sampling.seed = static_cast<std::uint64_t>(
      draws->Number(std::numeric_limits<std::int64_t>::min(), Draws::kInt32Max));
  sampling.top_logprobs = draws->Int(-1, PlanLimits::kTopLogprobsMax);
  sampling.min_tokens = draws->Int(0, Draws::kInt32Max);
  if (draws->Coin()) {
    sampling.suppressed_until_min_tokens = draws->Ints(5);
  }
  sampling.repetition_penalty = 2.0f - draws->Float(0, 1.9f);
  sampling.frequency_penalty = draws->Float(-2, 2);
  sampling.presence_penalty = draws->Float(-2, 2);
  for (Token token = draws->Int(0, 9); draws->Coin(); ++token) {
    sampling.logit_bias.push_back({token, draws->Coin() ? -kInfinity : draws->Float(-100, 100)});
  }
  if (draws->Coin()) {
    sampling.allowed_tokens = draws->Ints(5);
  }
  if (draws->Coin()) {
    sampling.forced.tokens = draws->Ints(5);
    sampling.forced.after =
        draws->Coin() ? std::optional(draws->Int(0, Draws::kInt32Max)) : std::nullopt;
  }
  sampling.acceptance = draws->Coin() ? AcceptanceRule::kRejection : AcceptanceRule::kSharedNoise;
  return sampling;
}

StepPlan RandomPlan(Draws* draws) {
  StepPlan plan;
  plan.epoch = Epoch(static_cast<std::uint64_t>(draws->Number(0, 1LL << 60)));
  plan.step = Step(static_cast<std::uint64_t>(draws->Number(1, 1LL << 60)));
  for (std::size_t i = draws->Count(4); i > 0; --i) {
    plan.close.push_back(draws->NextSequence());
  }
  for (std::size_t i = draws->Count(4); i > 0; --i) {
    plan.open.push_back(
        {draws->NextSequence(), RandomSampling(draws), draws->Number(1, PlanLimits::kPositionMax)});
  }
  for (std::size_t i = draws->Count(4); i > 0; --i) {
    plan.grants.push_back({draws->NextSequence(), draws->Ints(300)});
  }
  for (std::size_t i = draws->Count(8); i > 0; --i) {
    RowSpan span;
    span.sequence = draws->NextSequence();
    span.sample = draws->Coin();
    span.propose = span.sample && draws->Coin();
    if (draws->Coin()) {
      const std::vector<Token> tokens = draws->Ints(400);
      span.first_position =
          draws->Number(0, PlanLimits::kPositionMax - static_cast<std::int64_t>(tokens.size()));
      span.tokens = tokens;
    } else {
      span.first_position = draws->Number(kSequenceEnd, PlanLimits::kPositionMax - 1);
      span.tokens = LastCommitted{};
      span.draft_tokens_max = span.sample ? draws->Int(0, PlanLimits::kDraftTokensMax) : 0;
    }
    plan.spans.push_back(span);
  }
  return plan;
}

StepResult RandomResult(Draws* draws) {
  StepResult result;
  result.epoch = Epoch(static_cast<std::uint64_t>(draws->Number(0, 1LL << 60)));
  result.step = Step(static_cast<std::uint64_t>(draws->Number(1, 1LL << 60)));
  result.rank = Rank(draws->Int(0, PlanLimits::kRanksMax - 1));
  result.digest = static_cast<std::uint64_t>(draws->Number(-1, 1LL << 60));
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  result.times = {draws->Number(0, kMost),
                  draws->Number(0, kMost),
                  draws->Number(0, kMost),
                  draws->Number(0, kMost),
                  draws->Number(0, kMost)};
  for (std::size_t i = draws->Count(8); i > 0; --i) {
    SequenceTokens& tokens = result.sequences.emplace_back();
    tokens.sequence = draws->NextSequence();
    tokens.position = draws->Number(0, PlanLimits::kPositionMax - 40);
    tokens.drafted = draws->Int(0, PlanLimits::kDraftTokensMax);
    if (draws->Count(3) == 0) {
      tokens.fault =
          draws->Coin() ? SamplingFault::kNoTokenAllowed : SamplingFault::kLogitsNotFinite;
      continue;
    }
    tokens.accepted = draws->Int(0, tokens.drafted);
    tokens.proposed = draws->Int(0, PlanLimits::kDraftTokensMax);
    if (draws->Coin()) {
      tokens.confidence.resize(static_cast<std::size_t>(tokens.proposed), draws->Float(-9, 9));
    }
    for (std::int32_t j = 0; j <= tokens.accepted; ++j) {
      CommittedToken& token = tokens.tokens.emplace_back();
      token.token = draws->Int(0, Draws::kInt32Max);
      if (draws->Coin()) {
        token.logprob = draws->Coin() ? -kInfinity : draws->Float(-80, 0);
        token.top.resize(draws->Count(5), {draws->Int(0, Draws::kInt32Max), -0.5f});
      }
    }
  }
  return result;
}

TEST(PlanCodec, RoundTrips) {
  Draws draws(1);
  std::size_t spans = 0;
  for (int i = 0; i < 2000; ++i) {
    const StepPlan plan = RandomPlan(&draws);
    const auto decoded = DecodePlan(EncodePlan(plan));
    ASSERT_TRUE(decoded.ok()) << decoded.status().message();
    ASSERT_EQ(*decoded, plan);
    spans += plan.spans.size();
    const StepResult result = RandomResult(&draws);
    const auto decoded_result = DecodeResult(EncodeResult(result));
    ASSERT_TRUE(decoded_result.ok()) << decoded_result.status().message();
    ASSERT_EQ(*decoded_result, result);
  }
  EXPECT_GT(spans, 4000u);
}

StepPlan SoundPlan() {
  StepPlan plan;
  plan.epoch = Epoch(1);
  plan.step = Step(2);
  plan.close = {SequenceId(3)};
  plan.open = {{SequenceId(5), SamplingParams{}, 7}};
  plan.grants = {{SequenceId(5), {0, 1}}};
  RowSpan prefill;
  prefill.sequence = SequenceId(5);
  prefill.tokens = std::vector<Token>{1, 2, 3};
  RowSpan decode;
  decode.sequence = SequenceId(4);
  decode.first_position = 9;
  decode.tokens = LastCommitted{};
  decode.sample = true;
  plan.spans = {prefill, decode};
  return plan;
}

struct BadPlan {
  const char* message;
  std::function<void(StepPlan*)> spoil;
};

void ExpectRefused(std::span<const BadPlan> cases) {
  for (const BadPlan& bad : cases) {
    StepPlan plan = SoundPlan();
    bad.spoil(&plan);
    const absl::Status status = CheckPlan(plan);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.message));
  }
}

TEST(CheckPlan, NamesTheFieldAndTheValueOfSampling) {
  const BadPlan cases[] = {
      {"open[0].sampling.temperature is nan",
       [](StepPlan* p) { p->open[0].sampling.temperature = kNan; }},
      {"open[0].sampling.temperature is inf",
       [](StepPlan* p) { p->open[0].sampling.temperature = kInfinity; }},
      {"open[0].sampling.temperature is -0.5",
       [](StepPlan* p) { p->open[0].sampling.temperature = -0.5f; }},
      {"open[0].sampling.top_p is 0", [](StepPlan* p) { p->open[0].sampling.top_p = 0; }},
      {"open[0].sampling.top_p is 1.5", [](StepPlan* p) { p->open[0].sampling.top_p = 1.5f; }},
      {"open[0].sampling.min_p is nan", [](StepPlan* p) { p->open[0].sampling.min_p = kNan; }},
      {"open[0].sampling.top_k is -1", [](StepPlan* p) { p->open[0].sampling.top_k = -1; }},
      {"open[0].sampling.top_logprobs is 129",
       [](StepPlan* p) { p->open[0].sampling.top_logprobs = 129; }},
      {"open[0].sampling.min_tokens is -2",
       [](StepPlan* p) { p->open[0].sampling.min_tokens = -2; }},
      {"open[0].sampling.suppressed_until_min_tokens[1] is -7",
       [](StepPlan* p) {
         p->open[0].sampling.suppressed_until_min_tokens = {1, -7};
       }},
      {"open[0].sampling.suppressed_until_min_tokens has 4097 entries",
       [](StepPlan* p) { p->open[0].sampling.suppressed_until_min_tokens.resize(4097); }},
      {"open[0].sampling.repetition_penalty is 0",
       [](StepPlan* p) { p->open[0].sampling.repetition_penalty = 0; }},
      {"open[0].sampling.frequency_penalty is nan",
       [](StepPlan* p) { p->open[0].sampling.frequency_penalty = kNan; }},
      {"open[0].sampling.presence_penalty is inf",
       [](StepPlan* p) { p->open[0].sampling.presence_penalty = kInfinity; }},
      {"open[0].sampling.logit_bias[1].token is -1",
       [](StepPlan* p) {
         p->open[0].sampling.logit_bias = {{0, 1.0f}, {-1, 1.0f}};
       }},
      {"open[0].sampling.logit_bias[1].token is 4",
       [](StepPlan* p) {
         p->open[0].sampling.logit_bias = {{4, 1.0f}, {4, 2.0f}};
       }},
      {"open[0].sampling.logit_bias[0].bias is inf",
       [](StepPlan* p) {
         p->open[0].sampling.logit_bias = {{4, kInfinity}};
       }},
      {"open[0].sampling.logit_bias has 4097 entries",
       [](StepPlan* p) { p->open[0].sampling.logit_bias.resize(4097); }},
  };
  ExpectRefused(cases);
}

TEST(CheckPlan, NamesTheFieldAndTheValue) {
  ASSERT_TRUE(CheckPlan(SoundPlan()).ok());
  const auto literal = [](RowSpan* span) -> std::vector<Token>& {
    return std::get<std::vector<Token>>(span->tokens);
  };
  const BadPlan cases[] = {
      {"step is 0", [](StepPlan* p) { p->step = Step(0); }},
      {"close[1].sequence is 3", [](StepPlan* p) { p->close.emplace_back(3); }},
      {"open[0].sequence is 3", [](StepPlan* p) { p->open[0].sequence = SequenceId(3); }},
      {"open[1].sequence is 5", [](StepPlan* p) { p->open.push_back(p->open[0]); }},
      {"open[0].prompt_tokens is 0", [](StepPlan* p) { p->open[0].prompt_tokens = 0; }},
      {"open[0].prompt_tokens is 1099511627777",
       [](StepPlan* p) { p->open[0].prompt_tokens = PlanLimits::kPositionMax + 1; }},
      {"grants[1].sequence is 5", [](StepPlan* p) { p->grants.push_back(p->grants[0]); }},
      {"grants[0].blocks is empty", [](StepPlan* p) { p->grants[0].blocks.clear(); }},
      {"grants[0].blocks[1] is -1", [](StepPlan* p) { p->grants[0].blocks[1] = -1; }},
      {"grants[0].blocks granted up to here is 1048577",
       [](StepPlan* p) { p->grants[0].blocks.resize((1 << 20) + 1); }},
      {"spans[2].sequence is 4", [](StepPlan* p) { p->spans.push_back(p->spans[1]); }},
      {"spans[0].tokens is empty", [&](StepPlan* p) { literal(&p->spans[0]).clear(); }},
      {"spans[0].tokens[2] is -3", [&](StepPlan* p) { literal(&p->spans[0])[2] = -3; }},
      {"spans[0].tokens.size is 65537",
       [&](StepPlan* p) { literal(&p->spans[0]).resize((1 << 16) + 1); }},
      {"rows of all spans is 65537", [&](StepPlan* p) { literal(&p->spans[0]).resize(1 << 16); }},
      {"spans[0].first_position is -1",
       [](StepPlan* p) { p->spans[0].first_position = kSequenceEnd; }},
      {"spans[1].first_position is -2", [](StepPlan* p) { p->spans[1].first_position = -2; }},
      {"spans[0].first_position is 1099511627774",
       [](StepPlan* p) { p->spans[0].first_position = PlanLimits::kPositionMax - 2; }},
      {"spans[0].draft_tokens_max is 1", [](StepPlan* p) { p->spans[0].draft_tokens_max = 1; }},
      {"spans[1].draft_tokens_max is 33", [](StepPlan* p) { p->spans[1].draft_tokens_max = 33; }},
      {"spans[0].propose is set without sample", [](StepPlan* p) { p->spans[0].propose = true; }},
      {"close has 4097 entries", [](StepPlan* p) { p->close.resize(4097); }},
  };
  ExpectRefused(cases);
}

TEST(CheckResult, NamesTheFieldAndTheValue) {
  StepResult sound;
  sound.step = Step(1);
  sound.sequences = {{SequenceId(4), 9, {{1, -0.5f, {{1, -0.5f}}}}, 0, 0, 0, {}}};
  ASSERT_TRUE(CheckResult(sound).ok());
  const std::pair<const char*, std::function<void(StepResult*)>> cases[] = {
      {"step is 0", [](StepResult* r) { r->step = Step(0); }},
      {"rank is -1", [](StepResult* r) { r->rank = Rank(-1); }},
      {"sequences[1].sequence is 4",
       [](StepResult* r) { r->sequences.push_back(r->sequences[0]); }},
      {"sequences[0].tokens.size is 0", [](StepResult* r) { r->sequences[0].tokens.clear(); }},
      {"sequences[0].tokens.size is 34", [](StepResult* r) { r->sequences[0].tokens.resize(34); }},
      {"sequences[0].position is -1", [](StepResult* r) { r->sequences[0].position = -1; }},
      {"sequences[0].drafted is 40", [](StepResult* r) { r->sequences[0].drafted = 40; }},
      {"sequences[0].accepted is 1", [](StepResult* r) { r->sequences[0].accepted = 1; }},
      {"sequences[0].tokens[0].token is -5",
       [](StepResult* r) { r->sequences[0].tokens[0].token = -5; }},
      {"sequences[0].tokens[0].logprob is nan",
       [](StepResult* r) { r->sequences[0].tokens[0].logprob = kNan; }},
      {"sequences[0].tokens[0].top.logprob is 2",
       [](StepResult* r) { r->sequences[0].tokens[0].top[0].logprob = 2; }},
      {"sequences[0].proposed is 33", [](StepResult* r) { r->sequences[0].proposed = 33; }},
      {"sequences[0].confidence has 2 entries for 1 proposed",
       [](StepResult* r) {
         r->sequences[0].proposed = 1;
         r->sequences[0].confidence = {0.5f, 0.5f};
       }},
      {"sequences[0].confidence is nan",
       [](StepResult* r) {
         r->sequences[0].proposed = 1;
         r->sequences[0].confidence = {kNan};
       }},
      {"times.draft_ns is -1", [](StepResult* r) { r->times.draft_ns = -1; }},
      {"times.sample_ns is -1", [](StepResult* r) { r->times.sample_ns = -1; }},
  };
  for (const auto& [message, spoil] : cases) {
    StepResult result = sound;
    spoil(&result);
    EXPECT_THAT(std::string(CheckResult(result).message()), HasSubstr(message));
  }
}

// What protobuf can say and the plain structs cannot.
TEST(PlanCodec, RefusesWhatOnlyTheWireCanSay) {
  v1::StepPlan sound;
  PlanToProto(SoundPlan(), &sound);
  const std::pair<const char*, std::function<void(v1::StepPlan*)>> cases[] = {
      {"version is 77", [](v1::StepPlan* p) { p->set_version(77); }},
      {"version is 0", [](v1::StepPlan* p) { p->clear_version(); }},
      {"spans[0].rows is missing", [](v1::StepPlan* p) { p->mutable_spans(0)->clear_rows(); }},
      {"spans[1].first_position is -1",
       [](v1::StepPlan* p) { p->mutable_spans(1)->set_first_position(-1); }},
      {"spans[0].first_position is -1",
       [](v1::StepPlan* p) { p->mutable_spans(0)->clear_first_position(); }},
      {"sampling.top_logprobs is -1",
       [](v1::StepPlan* p) { p->mutable_open(0)->mutable_sampling()->set_top_logprobs(-1); }},
      {"sampling.acceptance is 2",
       [](v1::StepPlan* p) {
         p->mutable_open(0)->mutable_sampling()->set_acceptance(v1::AcceptanceRule(2));
       }},
      {"open[0].sampling.top_p is 0",
       [](v1::StepPlan* p) { p->mutable_open(0)->clear_sampling(); }},
  };
  for (const auto& [message, spoil] : cases) {
    v1::StepPlan plan = sound;
    spoil(&plan);
    EXPECT_THAT(std::string(DecodePlan(plan.SerializeAsString()).status().message()),
                HasSubstr(message));
  }
  v1::StepResult result;
  result.set_version(7);
  EXPECT_THAT(std::string(DecodeResult(result.SerializeAsString()).status().message()),
              HasSubstr("version is 7"));
}

TEST(PlanCodec, RefusesBytesThatAreNoMessage) {
  const std::string bytes = EncodePlan(SoundPlan());
  EXPECT_THAT(std::string(DecodePlan(bytes.substr(0, bytes.size() - 1)).status().message()),
              HasSubstr("not a sparkspan.v1.StepPlan"));
  EXPECT_FALSE(DecodePlan("").ok());
  EXPECT_THAT(
      std::string(
          DecodePlan(std::string(PlanLimits::kMessageBytesMax + 1, '\0')).status().message()),
      HasSubstr("67108865 bytes"));
}

}  // namespace
}  // namespace sparkspan::engine::runtime
