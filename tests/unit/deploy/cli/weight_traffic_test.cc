#include "deploy/cli/weight_traffic.h"

#include <memory>
#include <string>

#include "deploy/cli/bench_checkpoint.h"
#include "engine/model/bind_weights.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/rank_weights.h"
#include "gmock/gmock.h"
#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::weights::Dtype;
using engine::weights::ModelShape;
using engine::weights::TensorSpec;

// Of a sum of some million bytes that are divided by the number of experts.
constexpr double kRounding = 1e-3;

// What a row reads of a tensor, told by the tensor's name in the checkpoint alone.
double ReadOf(const TensorSpec& spec, const ModelShape& shape, std::int64_t position) {
  const std::string& name = spec.name;
  const auto has = [&](std::string_view part) { return name.find(part) != std::string::npos; };
  const auto bytes = static_cast<double>(spec.bytes());
  const auto rows = static_cast<double>(spec.stored_rows());
  if (spec.expert >= 0) {
    return bytes * shape.ops.experts_per_token / shape.ops.experts;
  }
  if (name == "embed.weight" || has(".ape")) {
    return bytes / rows;  // one row
  }
  if (has("tid2eid")) {
    return bytes / rows / 2;  // one row, of ids that are kept with 32 bits
  }
  int layer = 0;
  if (std::sscanf(name.c_str(), "layers.%d.", &layer) == 1) {
    const int ratio = shape.ratios[static_cast<std::size_t>(layer)];
    const bool entry_completed = ratio != 0 && position % ratio == ratio - 1;
    if (has("compressor.norm") && !entry_completed) {
      return 0.0;
    }
    const bool all_chosen = ratio != 0 && (position + 1) / ratio <= shape.ops.index_topk;
    if ((has("indexer.wq_b") || has("indexer.weights_proj")) && all_chosen) {
      return 0.0;
    }
  }
  // Vectors of 16 bits are kept with 32.
  return spec.shape.size() == 1 && spec.dtype == Dtype::kBf16 ? 2 * bytes : bytes;
}

double ReadOfAll(const ModelShape& shape, std::int64_t position) {
  double bytes = 0.0;
  for (const TensorSpec& spec : engine::weights::ExpectedTensors(shape)) {
    bytes += ReadOf(spec, shape, position);
  }
  return bytes;
}

class WeightTrafficTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(engine::weights::GenerateCheckpoint(tests::SmallShape(), folder_.path()).ok());
    checkpoint_ = *engine::weights::Checkpoint::Open(folder_.path());
  }

  // Of all ranks together.
  WeightTraffic Traffic(int ranks, bool experts_whole, std::int64_t position) const {
    WeightTraffic sum;
    for (int rank = 0; rank < ranks; ++rank) {
      const auto loaded = engine::weights::LoadRank(
          *checkpoint_, {.rank = rank, .ranks = ranks, .experts_whole = experts_whole});
      sum += WeightTrafficOf(engine::model::BindWeights(**loaded), position);
    }
    return sum;
  }

  tests::TemporaryFolder folder_;
  std::shared_ptr<const engine::weights::Checkpoint> checkpoint_;
};

TEST_F(WeightTrafficTest, CountsWhatTheCheckpointStores) {
  const ModelShape shape = tests::SmallShape();
  // 8 entries may be chosen, so that the indexer begins at position 35; 127 completes every entry.
  for (const std::int64_t position : {0, 3, 34, 35, 36, 126, 127}) {
    EXPECT_NEAR(Traffic(1, false, position).total(), ReadOfAll(shape, position), kRounding)
        << position;
  }
  EXPECT_LT(ReadOfAll(shape, 34), ReadOfAll(shape, 35));
}

TEST_F(WeightTrafficTest, PutsEveryPartInItsPlace) {
  const ModelShape shape = tests::SmallShape();
  const WeightTraffic traffic = Traffic(1, false, 127);
  WeightTraffic expected;
  for (const TensorSpec& spec : engine::weights::ExpectedTensors(shape)) {
    const auto has = [&](std::string_view part) {
      return spec.name.find(part) != std::string::npos;
    };
    const double bytes = ReadOf(spec, shape, 127);
    if (spec.expert >= 0) {
      expected.experts += bytes;
    } else if (has("shared_experts") || has(".gate.")) {
      expected.shared += bytes;
    } else if (has(".attn.")) {
      expected.attention += bytes;
    } else if (spec.name == "head.weight") {
      expected.head += bytes;
    } else {
      expected.streams += bytes;
    }
  }
  EXPECT_NEAR(traffic.experts, expected.experts, kRounding);
  EXPECT_NEAR(traffic.shared, expected.shared, kRounding);
  EXPECT_NEAR(traffic.attention, expected.attention, kRounding);
  EXPECT_NEAR(traffic.head, expected.head, kRounding);
  EXPECT_NEAR(traffic.streams, expected.streams, kRounding);
  // Three of five experts, of three layers: 3 * 384 * 256 weights of half a byte, a scale for 32.
  EXPECT_DOUBLE_EQ(traffic.experts, 3.0 * 3.0 * (3 * 384 * 256) * (0.5 + 1.0 / 32));
}

TEST_F(WeightTrafficTest, AddsUpOverRanks) {
  // Dealt parts are read once; what every rank holds is read by each.
  const WeightTraffic one = Traffic(1, false, 127);
  for (const bool experts_whole : {false, true}) {
    const WeightTraffic two = Traffic(2, experts_whole, 127);
    EXPECT_NEAR(two.experts, one.experts, kRounding) << experts_whole;
    EXPECT_NEAR(two.head, one.head, kRounding);
    EXPECT_GT(two.attention, one.attention);
    EXPECT_LT(two.attention, 2 * one.attention);
  }
}

TEST(BenchShapeTest, ReachesTheBytesWithEveryKindOfLayer) {
  for (const std::int64_t bytes : {1'000'000L, 80'000'000L, 2'000'000'000L}) {
    const ModelShape shape = BenchShape(bytes);
    EXPECT_GE(StoredBytes(shape), bytes);
    EXPECT_THAT(shape.ratios, testing::IsSupersetOf({0, 4, 128}));
    const auto parsed =
        engine::weights::ParseModelShape("config.json", engine::weights::ConfigJson(shape));
    EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  }
  const ModelShape large = BenchShape(2'000'000'000);
  EXPECT_LT(StoredBytes(large), 3'000'000'000);
  EXPECT_EQ(large.ops.hidden, 4096);
}

}  // namespace
}  // namespace sparkspan::deploy::cli
