#include "engine/weights/checkpoint_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "engine/weights/checkpoint.h"
#include "kernels/numerics/formats.h"
#include "tests/golden_path.h"
#include "tests/golden_tensors.h"
#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::engine::weights {
namespace {

TEST(CheckpointWriter, ConfigsReadBackTheSame) {
  for (const ModelShape& shape : {tests::SmallShape(), tests::SmallDsparkShape()}) {
    const std::string config = ConfigJson(shape);
    const auto again = ParseModelShape("config.json", config);
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_EQ(ConfigJson(*again), config);
  }
  ModelShape wrong = tests::SmallShape();
  wrong.ops.hidden = 100;
  const tests::TemporaryFolder folder;
  EXPECT_FALSE(GenerateCheckpoint(wrong, folder.path()).ok());
}

TEST(CheckpointWriter, TheSeedDecidesEveryByte) {
  const tests::TemporaryFolder folders[4];
  const GenerateOptions options[] = {{.seed = 7, .threads = 1},
                                     {.seed = 7, .threads = 4},
                                     {.seed = 8},
                                     {.seed = 7, .single_file = true}};
  for (std::size_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(GenerateCheckpoint(tests::SmallShape(), folders[i].path(), options[i]).ok());
  }
  const char* shard = "model-00003-of-00005.safetensors";
  const std::string first = tests::ReadText(folders[0].path() / shard);
  EXPECT_FALSE(first.empty());
  EXPECT_EQ(first, tests::ReadText(folders[1].path() / shard));
  EXPECT_NE(first, tests::ReadText(folders[2].path() / shard));
  // A tensor's bytes do not depend on the file it lies in, nor on where.
  const tests::GoldenTensors apart(folders[0].path() / shard);
  const tests::GoldenTensors together(folders[3].path() / "model.safetensors");
  for (const TensorSpec& spec : ExpectedTensors(tests::SmallShape())) {
    if (spec.name.starts_with("layers.1.")) {
      EXPECT_EQ(apart[spec.name].bytes, together[spec.name].bytes) << spec.name;
    }
  }
}

// The published order: by type, then by name as text, in a shard per layer.
TEST(CheckpointWriter, LaysShardsOutAsPublished) {
  const tests::TemporaryFolder folder;
  ASSERT_TRUE(GenerateCheckpoint(tests::SmallShape(), folder.path()).ok());
  std::uint64_t bytes = 0;
  const auto entries =
      ReadSafetensorsHeader(folder.path() / "model-00002-of-00005.safetensors", &bytes);
  ASSERT_TRUE(entries.ok()) << entries.status().message();
  EXPECT_EQ(entries->front().name, "layers.0.ffn.gate.tid2eid");
  EXPECT_EQ(entries->back().name, "layers.0.ffn.shared_experts.w3.weight");
  EXPECT_EQ(entries->front().offset % 8, 0u);
}

// The weights a scale and its codes stand for have about the variance 1 / columns.
TEST(CheckpointWriter, ScalesWeightsToTheirWidth) {
  const tests::TemporaryFolder folder;
  ASSERT_TRUE(GenerateCheckpoint(tests::SmallShape(), folder.path(), {.single_file = true}).ok());
  const tests::GoldenTensors tensors(folder.path() / "model.safetensors");
  const auto fp8 = tensors["layers.0.attn.wq_a.weight"].As<std::uint8_t>();
  const auto fp8_scale = tensors["layers.0.attn.wq_a.scale"].As<std::uint8_t>();
  double square = 0.0;
  for (std::size_t i = 0; i < fp8.size(); ++i) {
    const double value =
        kernels::numerics::FloatOfE4m3(fp8[i]) * std::exp2(fp8_scale[i % 256 / 128] - 127.0);
    square += value * value * 256.0 / static_cast<double>(fp8.size());
  }
  EXPECT_GT(square, 0.1);
  EXPECT_LT(square, 10.0);
  const auto embed = tensors.Floats("embed.weight");
  square = 0.0;
  for (const float value : embed) {
    square += static_cast<double>(value) * value * 256.0 / static_cast<double>(embed.size());
  }
  EXPECT_NEAR(square, 1.0, 0.05);
  const auto table = tensors["layers.0.ffn.gate.tid2eid"].As<std::int64_t>();
  for (std::size_t row = 0; row + 3 <= table.size(); row += 3) {
    EXPECT_EQ(std::set(&table[row], &table[row] + 3).size(), 3u);
  }
}

// A golden checkpoint and a generated one of its shape have the same tensors of the same types.
TEST(CheckpointWriter, WritesWhatIsPublished) {
  const auto golden = tests::GoldenPath("model-a");
  ASSERT_TRUE(golden.has_value());
  const auto published = Checkpoint::Open(*golden);
  ASSERT_TRUE(published.ok()) << published.status().message();
  const tests::TemporaryFolder folder;
  ASSERT_TRUE(GenerateCheckpoint((*published)->shape(), folder.path()).ok());
  const auto generated = Checkpoint::Open(folder.path());
  ASSERT_TRUE(generated.ok()) << generated.status().message();
  EXPECT_EQ((*generated)->index().tensors.size(), (*published)->index().tensors.size());
  for (const auto& [name, location] : (*published)->index().tensors) {
    const TensorLocation& own = (*generated)->index().tensors.at(name);
    EXPECT_EQ(own.dtype, location.dtype) << name;
    EXPECT_EQ(own.shape, location.shape) << name;
  }
}

}  // namespace
}  // namespace sparkspan::engine::weights
