#include "engine/model/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/model/bind_weights.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/rank_weights.h"
#include "tests/golden_path.h"

namespace sparkspan::engine::model {
namespace {

using ::testing::HasSubstr;

class ModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto golden = tests::GoldenPath("model-a");
    if (!golden) {
      GTEST_SKIP() << "no golden data 'model-a'";
    }
    checkpoint_ = weights::Checkpoint::Open(*golden).value();
  }

  ModelParts Parts(const weights::RankShare& share = {}) {
    return BindWeights(*weights::LoadRank(*checkpoint_, share).value());
  }

  std::shared_ptr<const weights::Checkpoint> checkpoint_;
};

TEST_F(ModelTest, RefusesOptionsOutOfRange) {
  ModelOptions options;
  options.threads = 0;
  EXPECT_THAT(Model::Create(Parts(), options, nullptr).status().message(), HasSubstr("threads"));
  options.threads = 1;
  options.rewind_rows_max = -1;
  EXPECT_THAT(Model::Create(Parts(), options, nullptr).status().message(),
              HasSubstr("rewind_rows_max"));
}

TEST_F(ModelTest, RefusesASplitThatCutsQuantisedGroups) {
  ModelOptions options;
  EXPECT_THAT(Model::Create(Parts({0, 2, false, 32}), options, nullptr).status().message(),
              HasSubstr("groups of 128"));
  options.numerics = kernels::numerics::kUnquantised;
  EXPECT_TRUE(Model::Create(Parts({0, 2, false, 32}), options, nullptr).ok());
}

TEST_F(ModelTest, RefusesSpansThatCannotRun) {
  auto model = Model::Create(Parts(), ModelOptions{}, nullptr).value();
  auto pool = cache::KvPool::Create(model->cache_layout(), 2).value();
  cache::SequenceState state(model->cache_layout());
  const std::vector<std::int32_t> blocks = {0};
  const std::vector<std::int32_t> outside = {2};
  const std::vector<Token> tokens = {1, 2, 3};
  const std::vector<Token> wrong = {1, 640};
  ForwardResult result;
  const auto error = [&](std::vector<SequenceSpan> spans) {
    return std::string(model->Forward(spans, *pool, {}, &result).message());
  };
  EXPECT_THAT(error({}), HasSubstr("without spans"));
  EXPECT_THAT(error({{nullptr, blocks, 0, tokens}}), HasSubstr("state"));
  EXPECT_THAT(error({{&state, blocks, 0, tokens}, {&state, blocks, 3, tokens}}),
              HasSubstr("span 1"));
  EXPECT_THAT(error({{&state, blocks, 0, {}}}), HasSubstr("no tokens"));
  EXPECT_THAT(error({{&state, blocks, -1, tokens}}), HasSubstr("negative"));
  EXPECT_THAT(error({{&state, blocks, 254, tokens}}), HasSubstr("1 KV blocks do not hold 257"));
  EXPECT_THAT(error({{&state, outside, 0, tokens}}), HasSubstr("KV block 2"));
  EXPECT_THAT(error({{&state, blocks, 0, wrong}}), HasSubstr("token 640"));
  EXPECT_EQ(error({{&state, blocks, 0, tokens}}), "");
}

TEST_F(ModelTest, GivesTheLogitsAskedFor) {
  auto model = Model::Create(Parts(), ModelOptions{}, nullptr).value();
  auto pool = cache::KvPool::Create(model->cache_layout(), 3).value();
  cache::SequenceState a(model->cache_layout()), b(model->cache_layout()), c(model->cache_layout());
  const std::vector<std::int32_t> blocks[] = {{0}, {1}, {2}};
  const std::vector<Token> tokens = {1, 2, 3};
  const SequenceSpan spans[] = {{&a, blocks[0], 0, tokens, LogitsRows::kAll},
                                {&b, blocks[1], 0, tokens, LogitsRows::kNone},
                                {&c, blocks[2], 0, tokens, LogitsRows::kLast}};
  const int taps[] = {0, 6};
  ForwardOptions options;
  options.taps = taps;
  options.keep_streams = true;
  ForwardTrace trace;
  options.trace = &trace;
  ForwardResult result;
  ASSERT_TRUE(model->Forward(spans, *pool, options, &result).ok());
  EXPECT_EQ(result.logits_rows, 4);
  ASSERT_EQ(result.logits.size(), 4u * 640);
  const auto row = [&](std::ptrdiff_t i) {
    return std::vector<float>(result.logits.begin() + i * 640,
                              result.logits.begin() + (i + 1) * 640);
  };
  EXPECT_EQ(row(2), row(3));  // The same sequence's last row.
  EXPECT_NE(row(1), row(2));
  // A tap is the mean over the streams of that layer's output, rounded to bf16.
  ASSERT_EQ(result.taps.size(), 9u * 2 * 256);
  const float* streams = &trace.hidden[(7u * 9 + 4) * 4 * 256];
  const float mean = (streams[5] + streams[256 + 5] + streams[512 + 5] + streams[768 + 5]) / 4.0f;
  EXPECT_EQ(result.streams,
            std::vector<float>(trace.hidden.begin() + 7 * 9 * 4 * 256, trace.hidden.end()));
  EXPECT_NEAR(result.taps[(4u * 2 + 1) * 256 + 5], mean, std::abs(mean) / 256.0f);
}

TEST_F(ModelTest, DigestSeesEveryBit) {
  auto model = Model::Create(Parts(), ModelOptions{}, nullptr).value();
  const std::vector<Token> tokens = {1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<std::int32_t> blocks = {0};
  const auto run = [&](bool flip) {
    auto pool = cache::KvPool::Create(model->cache_layout(), 1).value();
    cache::SequenceState state(model->cache_layout());
    ForwardResult result;
    const SequenceSpan first{&state, blocks, 0, tokens};
    EXPECT_TRUE(model->Forward({&first, 1}, *pool, {}, &result).ok());
    if (flip) {
      // The sign of one code of a stored window entry of layer 3.
      const std::int64_t at = model->cache_layout().layers[3].window_offset;
      state.bytes()[static_cast<std::size_t>(at)] ^= std::byte{0x80};
    }
    const SequenceSpan next{&state, blocks, 8, std::span(tokens).first(1)};
    EXPECT_TRUE(model->Forward({&next, 1}, *pool, {}, &result).ok());
    return result.digest;
  };
  EXPECT_EQ(run(false), run(false));
  EXPECT_NE(run(false), run(true));
}

}  // namespace
}  // namespace sparkspan::engine::model
