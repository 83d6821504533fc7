#include "engine/doctor/disk_speed.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/unit/engine/doctor/spark_tree.h"

namespace sparkspan::engine::doctor {
namespace {

TEST(DiskSpeed, AShardIsReadOrItIsSaidWhyNot) {
  SparkTree tree;
  tree.Write("var/model/model-1.safetensors", std::string(3'000'001, 'x'));
  const DiskFacts disk = MeasureDisk((tree.root() / "var/model").string());
  EXPECT_GT(disk.free_bytes.value_or(-1), 0);
  EXPECT_NE(disk.read_bytes_per_second.has_value(), !disk.why_not.empty());
  if (disk.read_bytes_per_second.has_value()) {
    EXPECT_GT(*disk.read_bytes_per_second, 0);
  }
}

TEST(DiskSpeed, WithoutAShardOrAFolderThereIsNoSpeed) {
  SparkTree tree;
  const DiskFacts empty = MeasureDisk(tree.root().string());
  EXPECT_TRUE(empty.free_bytes.has_value());
  EXPECT_EQ(empty.why_not, "there is no shard to read");
  const DiskFacts absent = MeasureDisk("/nothing/here");
  EXPECT_FALSE(absent.free_bytes.has_value());
  EXPECT_EQ(absent.why_not, "the checkpoint's file system is not here");
}

}  // namespace
}  // namespace sparkspan::engine::doctor
