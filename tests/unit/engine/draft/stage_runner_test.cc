#include "engine/draft/stage_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/gumbel.h"
#include "tests/unit/engine/draft/small_drafter.h"

namespace sparkspan::engine::draft {
namespace {

using ::testing::HasSubstr;
using tests::DraftOf;
using tests::SmallSequence;
using tests::SmallTarget;

// Counts what crosses between ranks.
class CountingCommunicator final : public collective::Communicator {
 public:
  explicit CountingCommunicator(collective::Communicator* inner) : inner_(*inner) {}

  Rank rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  void BeginStep(collective::ExchangeTag tag) override { inner_.BeginStep(tag); }
  absl::Status AllReduceSum(std::span<float> io) override {
    ++reductions;
    return inner_.AllReduceSum(io);
  }
  absl::Status AllGather(std::span<const std::byte> part,
                         std::span<const std::size_t> part_bytes,
                         std::span<std::byte> whole) override {
    gathered.push_back(part.size());
    return inner_.AllGather(part, part_bytes, whole);
  }
  void Abort(absl::Status why) override { inner_.Abort(std::move(why)); }

  int reductions = 0;
  std::vector<std::size_t> gathered;  // bytes of this rank's part

 private:
  collective::Communicator& inner_;
};

// A token is the best of its logits and the noise of its own position, whichever rank holds it.
TEST(StageRunner, DrawsWithTheNoiseOfThePosition) {
  tests::SmallDrafters small(tests::SmallDsparkShape());
  const auto drafter = small.Make({});
  const SmallTarget target(*drafter, small.shape(), 40, 1);
  SmallSequence sequence(*drafter, target);
  sequence.Commit(*drafter, 40);
  for (const DraftNoise noise : {DraftNoise::kOwn, DraftNoise::kShared}) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      DraftRequest request = sequence.Request();
      request.temperature = 1.5f;
      request.seed = seed;
      request.noise = noise;
      const DraftResult result = DraftOf(*drafter, {request});
      for (std::size_t k = 0; k < 4; ++k) {
        const NoiseKey key{
            seed,
            41 + static_cast<std::int64_t>(k),
            noise == DraftNoise::kOwn ? RandomPurpose::kDraft : RandomPurpose::kSample};
        const NoisyMaximum best =
            ArgmaxWithNoise(std::span(result.logits).subspan(k * 67, 67), 1.5f, key, 0);
        EXPECT_EQ(result.tokens[k], best.token);
      }
    }
  }
}

// All ranks draft the same, about what one rank drafts, with the exchanges that
// DsparkDrafter counts.
TEST(StageRunner, RanksAgreeInFewExchanges) {
  tests::SmallDrafters small(tests::SmallDsparkShape());
  model::ModelOptions options;
  options.numerics = kernels::numerics::kUnquantised;
  const auto single = small.Make(options);
  const SmallTarget target(*single, small.shape(), 140, 2);
  SmallSequence alone(*single, target);
  alone.Commit(*single, 140);
  const DraftResult expected = DraftOf(*single, {alone.Request()});
  for (const bool whole : {false, true}) {
    for (const int ranks : {2, 3, 4}) {
      std::vector<DraftResult> results(static_cast<std::size_t>(ranks));
      for (int rank = 0; rank < ranks; ++rank) {
        small.Load({rank, ranks, whole});
      }
      const auto body = [&](int rank, collective::Communicator* communicator) {
        CountingCommunicator counting(communicator);
        const auto drafter =
            MakeDrafter(
                *small.Load({rank, ranks, whole}), {DrafterKind::kDspark}, options, &counting)
                .value();
        SmallSequence sequence(*drafter, target);
        sequence.Commit(*drafter, 140);
        EXPECT_EQ(counting.reductions, 0);
        SmallSequence other(*drafter, target);
        other.Commit(*drafter, 3);
        DraftRequest second = other.Request();
        second.keep_logits = false;
        results[static_cast<std::size_t>(rank)] = DraftOf(*drafter, {sequence.Request(), second});
        EXPECT_EQ(counting.reductions, 2 * 2);
        EXPECT_EQ(counting.gathered.size(), 4u + 1u);
        EXPECT_EQ(counting.gathered[0], 2u * 8u);
        counting.gathered.clear();
        DraftOf(*drafter, {second});
        EXPECT_EQ(counting.gathered.size(), 4u);
        return absl::OkStatus();
      };
      ASSERT_TRUE(collective::RunRankThreads(ranks, body).ok());
      for (const DraftResult& result : results) {
        EXPECT_EQ(result.tokens, results[0].tokens);
        EXPECT_EQ(result.confidence, results[0].confidence);
        EXPECT_EQ(result.logits, results[0].logits);
      }
      EXPECT_EQ(std::vector<Token>(results[0].tokens.begin(), results[0].tokens.begin() + 4),
                expected.tokens);
      ASSERT_EQ(results[0].logits.size(), expected.logits.size());
      for (std::size_t i = 0; i < expected.logits.size(); ++i) {
        EXPECT_NEAR(results[0].logits[i], expected.logits[i], 1e-4);
      }
    }
  }
}

TEST(StageRunner, RefusesWhatCannotBe) {
  tests::SmallDrafters small(tests::SmallDsparkShape());
  const auto drafter = small.Make({});
  const SmallTarget target(*drafter, small.shape(), 4, 3);
  SmallSequence sequence(*drafter, target);
  const auto commit = [&](auto change) {
    SmallSequence copy(*drafter, target);
    CommittedSpan span = copy.Take(4);
    change(span);
    return std::string(drafter->Commit(target.Rows(), {&span, 1}).message());
  };
  std::vector<Token> wrong = {1, 2, 3, 67};
  EXPECT_EQ(commit([](CommittedSpan&) {}), "");
  EXPECT_THAT(commit([](CommittedSpan& span) { span.state = span.state.first(8); }),
              HasSubstr("8 bytes, not 51200"));
  EXPECT_THAT(commit([](CommittedSpan& span) { span.first_row = 1; }),
              HasSubstr("rows 1 to 4 at position 0: the target gave 4 rows"));
  EXPECT_THAT(commit([](CommittedSpan& span) { span.rows = 0; }), HasSubstr("rows"));
  EXPECT_THAT(commit([](CommittedSpan& span) { span.next_tokens = span.next_tokens.first(1); }),
              HasSubstr("1 next tokens for 4 rows"));
  EXPECT_THAT(commit([&](CommittedSpan& span) { span.next_tokens = wrong; }),
              HasSubstr("token 67 is not in the vocabulary of 67"));
  sequence.Commit(*drafter, 4);
  const auto draft = [&](auto change) {
    DraftRequest request = sequence.Request();
    change(request);
    DraftResult result;
    return std::string(drafter->Draft({&request, 1}, &result).message());
  };
  EXPECT_EQ(draft([](DraftRequest&) {}), "");
  EXPECT_THAT(draft([](DraftRequest& request) { request.anchor_position = 0; }),
              HasSubstr("commit the rows before it first"));
  EXPECT_THAT(draft([](DraftRequest& request) { request.anchor = 67; }), HasSubstr("anchor 67"));
  EXPECT_THAT(draft([](DraftRequest& request) { request.temperature = -1.0f; }),
              HasSubstr("temperature -1"));
  DraftResult result;
  EXPECT_TRUE(drafter->Draft({}, &result).ok());
  EXPECT_TRUE(result.tokens.empty());
  EXPECT_GT(drafter->ActivationBytes(64, 4), drafter->ActivationBytes(64, 1));
}

}  // namespace
}  // namespace sparkspan::engine::draft
