#include "engine/draft/dspark_drafter.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/engine/draft/small_drafter.h"

namespace sparkspan::engine::draft {
namespace {

using tests::DraftOf;
using tests::SmallSequence;
using tests::SmallTarget;

model::ModelOptions Options(const kernels::numerics::NumericsProfile& numerics,
                            model::Device device = model::Device::kCpu,
                            int threads = 1) {
  model::ModelOptions options;
  options.numerics = numerics;
  options.device = device;
  options.threads = threads;
  return options;
}

constexpr kernels::numerics::NumericsProfile kProfiles[] = {kernels::numerics::kUnquantised,
                                                            kernels::numerics::kQuantised};

class DsparkDrafterTest : public ::testing::Test {
 protected:
  tests::SmallDrafters small_{tests::SmallDsparkShape()};
};

// The context is the newest 128 committed rows, however they came in.
TEST_F(DsparkDrafterTest, ChunksOfTheContextChangeNothing) {
  for (const auto& numerics : kProfiles) {
    const auto drafter = small_.Make(Options(numerics));
    const SmallTarget target(*drafter, small_.shape(), 300, 1);
    SmallSequence whole(*drafter, target);
    whole.Commit(*drafter, 300);
    SmallSequence single(*drafter, target);
    while (single.length < 300) {
      single.Commit(*drafter, 1);
    }
    SmallSequence chunks(*drafter, target);
    for (const std::int64_t rows : {1, 130, 7, 128, 34}) {
      chunks.Commit(*drafter, rows);
    }
    EXPECT_EQ(single.state, whole.state);
    EXPECT_EQ(chunks.state, whole.state);
    const DraftResult expected = DraftOf(*drafter, {whole.Request()});
    EXPECT_EQ(DraftOf(*drafter, {chunks.Request()}).logits, expected.logits);
    // A sequence that starts anew in a used state has none of the older one.
    SmallSequence fresh(*drafter, target);
    fresh.Commit(*drafter, 5);
    whole.length = 0;
    whole.Commit(*drafter, 5);
    EXPECT_EQ(DraftOf(*drafter, {whole.Request()}).logits,
              DraftOf(*drafter, {fresh.Request()}).logits);
  }
}

TEST_F(DsparkDrafterTest, NeighboursAndThreadsChangeNothing) {
  for (const auto& numerics : kProfiles) {
    const auto drafter = small_.Make(Options(numerics));
    const auto threaded = small_.Make(Options(numerics, model::Device::kCpu, 3));
    const SmallTarget target(*drafter, small_.shape(), 200, 2);
    const SmallTarget other(*drafter, small_.shape(), 200, 3);
    std::vector<SmallSequence> sequences;
    for (const std::int64_t rows : {1, 64, 200, 131}) {
      sequences.emplace_back(*drafter, rows % 2 == 0 ? target : other);
      sequences.back().Commit(*drafter, rows);
    }
    std::vector<DraftRequest> requests;
    for (SmallSequence& sequence : sequences) {
      requests.push_back(sequence.Request());
    }
    requests[1].temperature = 0.8f;
    requests[1].seed = 7;
    const DraftResult together = DraftOf(*drafter, requests);
    const DraftResult shared = DraftOf(*threaded, requests);
    EXPECT_EQ(shared.tokens, together.tokens);
    EXPECT_EQ(shared.logits, together.logits);
    const std::size_t block = static_cast<std::size_t>(drafter->block());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const DraftResult alone = DraftOf(*drafter, {requests[i]});
      const auto part = [&](const auto& all, std::size_t width) {
        const auto begin = all.begin() + static_cast<std::ptrdiff_t>(i * width);
        return std::vector(begin, begin + static_cast<std::ptrdiff_t>(width));
      };
      EXPECT_EQ(part(together.tokens, block), alone.tokens);
      EXPECT_EQ(part(together.confidence, block), alone.confidence);
      EXPECT_EQ(part(together.logits, block * 67), alone.logits);
    }
  }
}

TEST_F(DsparkDrafterTest, DraftsLeaveNothingBehindAndCommitsOnlyTheirRows) {
  const auto drafter = small_.Make(Options(kernels::numerics::kQuantised));
  const SmallTarget target(*drafter, small_.shape(), 140, 4);
  SmallSequence sequence(*drafter, target);
  sequence.Commit(*drafter, 130);
  const std::vector<std::byte> before = sequence.state;
  DraftOf(*drafter, {sequence.Request()});
  EXPECT_EQ(sequence.state, before);
  sequence.Commit(*drafter, 2);
  const std::size_t entry = sequence.state.size() / 2 / 128;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const std::size_t slot = i / entry % 128;
    if (slot != 130 % 128 && slot != 131 % 128) {
      ASSERT_EQ(sequence.state[i], before[i]) << "slot " << slot;
    }
  }
  EXPECT_NE(sequence.state, before);
}

// The vectorised phases against the plain ones.
TEST_F(DsparkDrafterTest, AgreesWithTheReferenceDevice) {
  const auto fast = small_.Make(Options(kernels::numerics::kUnquantised));
  const auto plain =
      small_.Make(Options(kernels::numerics::kUnquantised, model::Device::kReference));
  const SmallTarget target(*fast, small_.shape(), 150, 5);
  for (const std::int64_t rows : {1, 3, 127, 128, 150}) {
    SmallSequence a(*fast, target);
    SmallSequence b(*plain, target);
    a.Commit(*fast, rows);
    b.Commit(*plain, rows);
    const DraftResult actual = DraftOf(*fast, {a.Request()});
    const DraftResult expected = DraftOf(*plain, {b.Request()});
    EXPECT_EQ(actual.tokens, expected.tokens);
    double error = 0.0;
    for (std::size_t i = 0; i < actual.logits.size(); ++i) {
      error = std::max(error, std::fabs(double{actual.logits[i]} - expected.logits[i]));
    }
    for (std::size_t i = 0; i < actual.confidence.size(); ++i) {
      error = std::max(error, std::fabs(double{actual.confidence[i]} - expected.confidence[i]));
    }
    std::printf("%d rows: %.1e of 1e-4\n", static_cast<int>(rows), error);
    EXPECT_LE(error, 1e-4);
  }
}

}  // namespace
}  // namespace sparkspan::engine::draft
