#include "engine/model/bind_weights.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/model/model.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/checkpoint_writer.h"
#include "kernels/numerics/formats.h"
#include "kernels/reference/linear.h"
#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::engine::model {
namespace {

class BindWeightsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(weights::GenerateCheckpoint(tests::SmallShape(), folder_.path()).ok());
    checkpoint_ = weights::Checkpoint::Open(folder_.path()).value();
  }
  ModelParts Parts(const weights::RankShare& share) {
    return BindWeights(*weights::LoadRank(*checkpoint_, share).value());
  }

  tests::TemporaryFolder folder_;
  std::shared_ptr<const weights::Checkpoint> checkpoint_;
};

std::vector<float> Row(const kernels::StoredWeight& weight, std::int64_t row) {
  std::vector<float> values(static_cast<std::size_t>(weight.columns));
  kernels::reference::DecodeRow(weight, row, values);
  return values;
}

// A slice decodes to the same numbers as its place in the whole, wherever scale blocks are cut.
TEST_F(BindWeightsTest, SlicesDecodeAsTheWholeDoes) {
  const ModelParts whole = Parts({});
  for (const int ranks : {2, 3, 8}) {
    std::int64_t first_row = 0;
    std::int64_t first_column = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const ModelParts part = Parts({rank, ranks, false, 32});
      const kernels::ExpertWeights& shared = part.layers[1].moe.shared;
      const kernels::ExpertWeights& all = whole.layers[1].moe.shared;
      const kernels::ExpertWeights& routed = part.layers[1].moe.experts[3];
      const kernels::ExpertWeights& all_routed = whole.layers[1].moe.experts[3];
      for (std::int64_t row = 0; row < shared.up.rows; ++row) {
        EXPECT_EQ(Row(shared.up, row), Row(all.up, first_row + row));
        EXPECT_EQ(Row(routed.gate, row), Row(all_routed.gate, first_row + row));
      }
      for (const std::int64_t row : {0, 17, 200}) {
        for (const auto& [mine, full] :
             {std::pair(&shared.down, &all.down), std::pair(&routed.down, &all_routed.down)}) {
          const std::vector<float> expected = Row(*full, row);
          EXPECT_EQ(Row(*mine, row),
                    std::vector<float>(expected.begin() + first_column,
                                       expected.begin() + first_column + mine->columns));
        }
      }
      first_row += shared.up.rows;
      first_column += shared.down.columns;
    }
    EXPECT_EQ(first_row, 384);
    EXPECT_EQ(first_column, 384);
  }
}

// The parts outlive what loaded them, and a generated checkpoint computes finite numbers.
TEST_F(BindWeightsTest, AGeneratedCheckpointRuns) {
  auto model = Model::Create(Parts({}), ModelOptions{}, nullptr).value();
  auto pool = cache::KvPool::Create(model->cache_layout(), 1).value();
  cache::SequenceState state(model->cache_layout());
  const std::vector<std::int32_t> blocks = {0};
  std::vector<Token> tokens;
  for (int i = 0; i < 140; ++i) {
    tokens.push_back(i % 67);
  }
  ForwardResult result;
  const SequenceSpan span{&state, blocks, 0, tokens, LogitsRows::kAll};
  ASSERT_TRUE(model->Forward({&span, 1}, *pool, {}, &result).ok());
  float largest = 0.0f;
  for (const float logit : result.logits) {
    ASSERT_TRUE(std::isfinite(logit));
    largest = std::max(largest, std::fabs(logit));
  }
  EXPECT_GT(largest, 0.01f);
  EXPECT_LT(largest, 100.0f);
}

TEST_F(BindWeightsTest, ExpertsDealtWholeBelongToOneRank) {
  for (int rank = 0; rank < 2; ++rank) {
    const ModelParts parts = Parts({rank, 2, true, 128});
    for (std::size_t expert = 0; expert < 5; ++expert) {
      EXPECT_EQ(parts.layers[0].moe.experts[expert].gate.empty(), (expert >= 2) != (rank == 1));
    }
    EXPECT_TRUE(parts.layers[0].moe.experts_whole);
    EXPECT_EQ(parts.layers[0].moe.table.size(), 67u * 3);
    EXPECT_EQ(parts.layers[0].attention.sink.size(), 8u);
  }
}

}  // namespace
}  // namespace sparkspan::engine::model
