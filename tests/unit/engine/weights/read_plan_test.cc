#include "engine/weights/read_plan.h"

#include <gtest/gtest.h>

#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::engine::weights {
namespace {

// V4-Flash's own sizes, fewer layers.
ModelShape FlashShape() {
  ModelShape shape = tests::SmallShape();
  shape.ops.hidden = 4096;
  shape.ops.streams = 4;
  shape.ops.q_lora = 1024;
  shape.ops.head_dim = 512;
  shape.ops.heads = 64;
  shape.ops.o_lora = 1024;
  shape.ops.index_heads = 64;
  shape.ops.index_dim = 128;
  shape.ops.experts = 256;
  shape.ops.experts_per_token = 6;
  shape.vocabulary = 129280;
  shape.expert_width = 2048;
  shape.ratios = {0, 4, 128};
  return shape;
}

// Where a published checkpoint of that shape has its tensors: a file, by type and name.
CheckpointIndex IndexOf(const ModelShape& shape) {
  CheckpointIndex index;
  index.files.push_back({"model.safetensors", 0});
  std::vector<TensorSpec> specs = ExpectedTensors(shape);
  std::sort(specs.begin(), specs.end(), [](const TensorSpec& a, const TensorSpec& b) {
    return std::pair(a.dtype != Dtype::kE8m0, a.name) < std::pair(b.dtype != Dtype::kE8m0, b.name);
  });
  std::uint64_t offset = 123 * 8;
  for (const TensorSpec& spec : specs) {
    const auto bytes = static_cast<std::uint64_t>(spec.bytes());
    index.tensors[spec.name] = {0, spec.dtype, spec.shape, offset, bytes};
    offset += bytes;
  }
  index.files[0].bytes = offset;
  return index;
}

TEST(ReadPlan, ReadsLittleMoreThanTheSlices) {
  const ModelShape shape = FlashShape();
  const CheckpointIndex index = IndexOf(shape);
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const bool whole : {false, true}) {
      const auto shard = PlanShard(shape, {ranks - 1, ranks, whole, 128}, false);
      ASSERT_TRUE(shard.ok());
      const ReadPlan plan = PlanReads(*shard, index);
      const double ratio =
          static_cast<double>(plan.bytes) / static_cast<double>(shard->slice_bytes);
      std::uint64_t direct = 0;
      std::uint64_t pieces = 0;
      for (const ReadTask& task : plan.tasks) {
        direct += task.way == ReadWay::kDirect ? task.bytes : 0;
        pieces += task.way == ReadWay::kPieces ? task.rows : 0;
      }
      std::printf("%d ranks %s: reads %.4f of the slices, %.0f%% direct, %zu tasks, %.1fM pieces\n",
                  ranks,
                  whole ? "whole" : "split",
                  ratio,
                  100.0 * static_cast<double>(direct) / static_cast<double>(plan.bytes),
                  plan.tasks.size(),
                  static_cast<double>(pieces) / 1e6);
      EXPECT_GE(ratio, 1.0);
      EXPECT_LE(ratio, 1.02);
    }
  }
}

TEST(ReadPlan, KeepsTasksWithinStagingAndInOrder) {
  const ModelShape shape = FlashShape();
  const auto shard = PlanShard(shape, {1, 3, false, 128}, false);
  const ReadPlan plan = PlanReads(*shard, IndexOf(shape));
  std::uint64_t end = 0;
  for (const ReadTask& task : plan.tasks) {
    EXPECT_GE(task.offset + kReadBlock, end);  // direct neighbours may share a block
    end = task.offset + task.bytes;
    if (task.way == ReadWay::kPieces) {
      EXPECT_EQ(task.stretches, 1u);
      continue;
    }
    EXPECT_LE(task.bytes, kStagingBytes);
    if (task.way == ReadWay::kDirect) {
      EXPECT_EQ(task.offset % kReadBlock, 0u);
      EXPECT_EQ(task.bytes % kReadBlock, 0u);
    }
  }
}

}  // namespace
}  // namespace sparkspan::engine::weights
