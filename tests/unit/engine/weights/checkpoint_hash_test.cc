#include "engine/weights/checkpoint_hash.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::engine::weights {
namespace {

std::uint64_t HashOf(const std::filesystem::path& folder) {
  const auto checkpoint = Checkpoint::Open(folder);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const auto hash = CheckpointHash(**checkpoint);
  EXPECT_TRUE(hash.ok()) << hash.status().message();
  return *hash;
}

TEST(CheckpointHash, CopiesAgreeWhereverTheyLie) {
  const tests::TemporaryFolder a;
  const tests::TemporaryFolder b;
  ASSERT_TRUE(GenerateCheckpoint(tests::SmallShape(), a.path(), {}).ok());
  std::filesystem::copy(a.path(), b.path(), std::filesystem::copy_options::recursive);
  EXPECT_EQ(HashOf(a.path()), HashOf(b.path()));
}

TEST(CheckpointHash, AnotherConfigurationShapeOrLayoutOfShardsDiffers) {
  const tests::TemporaryFolder folder;
  ASSERT_TRUE(GenerateCheckpoint(tests::SmallShape(), folder.path(), {}).ok());
  const std::uint64_t hash = HashOf(folder.path());
  const tests::TemporaryFolder single;
  ASSERT_TRUE(GenerateCheckpoint(tests::SmallShape(), single.path(), {.single_file = true}).ok());
  EXPECT_NE(HashOf(single.path()), hash) << "the same tensors in one file";
  ModelShape larger = tests::SmallShape();
  larger.expert_width += 128;
  const tests::TemporaryFolder other;
  ASSERT_TRUE(GenerateCheckpoint(larger, other.path(), {}).ok());
  EXPECT_NE(HashOf(other.path()), hash);
  // A value that no tensor's shape shows.
  const std::filesystem::path config = folder.path() / "config.json";
  nlohmann::json json = nlohmann::json::parse(tests::ReadText(config));
  json["rope_theta"] = 20000.0;
  tests::WriteText(config, json.dump());
  EXPECT_NE(HashOf(folder.path()), hash);
}

}  // namespace
}  // namespace sparkspan::engine::weights
