#include "engine/draft/mtp_drafter.h"

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

class MtpDrafterTest : public ::testing::Test {
 protected:
  tests::SmallDrafters small_{tests::SmallMtpShape()};
};

TEST_F(MtpDrafterTest, ChunksAndNeighboursChangeNothing) {
  for (const auto& numerics : {kernels::numerics::kUnquantised, kernels::numerics::kQuantised}) {
    const auto drafter = small_.Make(Options(numerics), 2);
    const SmallTarget target(*drafter, small_.shape(), 200, 1);
    const SmallTarget other(*drafter, small_.shape(), 200, 2);
    SmallSequence whole(*drafter, target);
    whole.Commit(*drafter, 200);
    SmallSequence chunks(*drafter, target);
    for (const std::int64_t rows : {1, 130, 7, 1, 61}) {
      chunks.Commit(*drafter, rows);
      DraftOf(*drafter, {chunks.Request()});  // What it leaves behind is written again.
    }
    SmallSequence neighbour(*drafter, other);
    neighbour.Commit(*drafter, 50);
    const DraftResult expected = DraftOf(*drafter, {whole.Request()});
    EXPECT_EQ(DraftOf(*drafter, {chunks.Request()}).logits, expected.logits);
    EXPECT_EQ(DraftOf(*drafter, {chunks.Request()}).logits, expected.logits);
    const DraftResult two = DraftOf(*drafter, {neighbour.Request(), chunks.Request()});
    EXPECT_EQ(std::vector<float>(two.logits.begin() + 2 * 67, two.logits.end()), expected.logits);
    EXPECT_TRUE(two.confidence.empty());
  }
}

// The first draft does not depend on how many are made; a second is made of the first.
TEST_F(MtpDrafterTest, MoreDraftsKeepTheFirst) {
  const auto one = small_.Make(Options(kernels::numerics::kUnquantised), 1);
  const auto two = small_.Make(Options(kernels::numerics::kUnquantised), 2);
  const SmallTarget target(*one, small_.shape(), 140, 3);
  SmallSequence a(*one, target);
  SmallSequence b(*two, target);
  a.Commit(*one, 140);
  b.Commit(*two, 140);
  const DraftResult first = DraftOf(*one, {a.Request()});
  const DraftResult both = DraftOf(*two, {b.Request()});
  ASSERT_EQ(both.tokens.size(), 2u);
  EXPECT_EQ(first.tokens[0], both.tokens[0]);
  EXPECT_EQ(first.logits, std::vector<float>(both.logits.begin(), both.logits.begin() + 67));
  // Another first draft, another second.
  DraftRequest request = b.Request();
  request.temperature = 50.0f;
  for (request.seed = 1; DraftOf(*two, {request}).tokens[0] == both.tokens[0]; ++request.seed) {
  }
  const DraftResult other = DraftOf(*two, {request});
  EXPECT_NE(std::vector<float>(other.logits.begin() + 67, other.logits.end()),
            std::vector<float>(both.logits.begin() + 67, both.logits.end()));
}

TEST_F(MtpDrafterTest, AgreesWithTheReferenceDevice) {
  const auto fast = small_.Make(Options(kernels::numerics::kUnquantised), 2);
  const auto plain =
      small_.Make(Options(kernels::numerics::kUnquantised, model::Device::kReference), 2);
  const SmallTarget target(*fast, small_.shape(), 150, 4);
  for (const std::int64_t rows : {1, 128, 150}) {
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
    std::printf("%d rows: %.1e of 1e-4\n", static_cast<int>(rows), error);
    EXPECT_LE(error, 1e-4);
  }
}

}  // namespace
}  // namespace sparkspan::engine::draft
