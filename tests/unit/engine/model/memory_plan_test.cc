// What the plan says and what loading takes, on a checkpoint large enough to tell.
#include "engine/model/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include "engine/model/bind_weights.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/checkpoint_writer.h"
#include "engine/weights/rank_weights.h"
#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::engine::model {
namespace {

using ::testing::HasSubstr;

// The number behind `key` in a file of /proc.
std::int64_t ProcField(const char* file, const std::string& key) {
  std::ifstream stream(file);
  for (std::string word; stream >> word;) {
    if (word == key) {
      std::int64_t value = 0;
      stream >> value;
      return value;
    }
  }
  ADD_FAILURE() << file << " has no " << key;
  return 0;
}

// About 290 MB.
weights::ModelShape LargeShape() {
  weights::ModelShape shape = tests::SmallShape();
  shape.ops.hidden = 1024;
  shape.ops.q_lora = 512;
  shape.ops.experts = 48;
  shape.expert_width = 1024;
  shape.vocabulary = 8192;
  return shape;
}

class LargeCheckpoint : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new tests::TemporaryFolder();
    ASSERT_TRUE(weights::GenerateCheckpoint(LargeShape(), folder_->path()).ok());
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static inline tests::TemporaryFolder* folder_ = nullptr;
};

TEST_F(LargeCheckpoint, ARankReadsItsSlicesAndLittleElse) {
  const auto checkpoint = weights::Checkpoint::Open(folder_->path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  for (const int ranks : {1, 2, 3, 8}) {
    for (const bool whole : {false, true}) {
      const std::int64_t before = ProcField("/proc/self/io", "rchar:");
      const auto loaded = weights::LoadRank(**checkpoint, {ranks - 1, ranks, whole});
      const std::int64_t read = ProcField("/proc/self/io", "rchar:") - before;
      ASSERT_TRUE(loaded.ok()) << loaded.status().message();
      const weights::LoadReport& report = (*loaded)->report();
      std::printf("%s: %s\n", whole ? "whole" : "split", report.Text().c_str());
      EXPECT_LE(static_cast<double>(report.read.bytes),
                1.02 * static_cast<double>(report.slice_bytes));
      EXPECT_LE(static_cast<double>(read), 1.02 * static_cast<double>(report.slice_bytes));
    }
  }
}

TEST_F(LargeCheckpoint, TakesTheMemoryThatWasPlanned) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "resident memory under a sanitizer is the sanitizer's";
#endif
  const auto checkpoint = weights::Checkpoint::Open(folder_->path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  for (const int ranks : {1, 2}) {
    const weights::RankShare share{0, ranks};
    malloc_trim(0);
    const std::int64_t before = ProcField("/proc/self/status", "VmRSS:");
    ModelParts parts = BindWeights(*weights::LoadRank(**checkpoint, share).value());
    const std::int64_t taken = (ProcField("/proc/self/status", "VmRSS:") - before) * 1024;
    const auto plan = PlanMemory((*checkpoint)->shape(), share, {}, {}, {});
    ASSERT_TRUE(plan.ok());
    std::printf(
        "%d ranks: planned %.1f MiB, resident %.1f MiB more (%+.2f%%)\n",
        ranks,
        static_cast<double>(plan->loaded()) / (1 << 20),
        static_cast<double>(taken) / (1 << 20),
        100.0 * static_cast<double>(taken - plan->loaded()) / static_cast<double>(plan->loaded()));
    EXPECT_NEAR(static_cast<double>(taken),
                static_cast<double>(plan->loaded()),
                0.05 * static_cast<double>(plan->loaded()));
  }
}

TEST(MemoryPlan, AddsUpWhatIsAskedFor) {
  const weights::ModelShape shape = tests::SmallDsparkShape();
  ModelOptions options;
  const MemoryDemand demand{100, 4, 64};
  const MemoryPlan plan = PlanMemory(shape, {0, 2}, options, {}, demand).value();
  const kernels::CacheLayout layout = CacheLayoutOf(shape.ops, shape.ratios, options);
  EXPECT_EQ(plan.kv_pool, 100 * layout.block_bytes);
  EXPECT_EQ(plan.sequence_states, 4 * layout.state_bytes);
  EXPECT_GT(plan.activations, 0);
  EXPECT_EQ(plan.staging, 4 * (std::int64_t{4} << 20));
  EXPECT_EQ(plan.serving(),
            plan.weights + plan.widened + plan.kv_pool + plan.sequence_states + plan.activations);
  const MemoryPlan drafting = PlanMemory(shape, {0, 2}, options, {.draft = true}, demand).value();
  EXPECT_GT(drafting.weights, plan.weights);
  EXPECT_EQ(plan.draft_states, 0);
  EXPECT_EQ(plan.draft_activations, 0);
  // Two rings of 128 entries of 64 e4m3 codes, a scale in 8 bytes and 64 bf16; logits of 4 drafts.
  EXPECT_EQ(drafting.draft_states, 4 * (2 * 128 * (64 + 8 + 128) + 4 * shape.vocabulary * 4));
  // At least the logits of 4 sequences' blocks of 4.
  EXPECT_GT(drafting.draft_activations, 4 * 4 * 67 * 4);
  EXPECT_EQ(drafting.serving(),
            drafting.loaded() + plan.kv_pool + plan.sequence_states + plan.activations +
                drafting.draft_states + drafting.draft_activations);
  EXPECT_THAT(plan.Text(), HasSubstr("KV pool"));
  EXPECT_THAT(std::string(PlanMemory(shape, {0, 9}, options, {}, demand).status().message()),
              HasSubstr("runs on 1 to 8 ranks"));
  EXPECT_THAT(std::string(PlanMemory(shape, {0, 2}, options, {}, {-1}).status().message()),
              HasSubstr("kv_blocks is -1"));
  EXPECT_THAT(std::string(PlanMemory(shape, {0, 2}, options, {}, {0, 0, 0, 3}).status().message()),
              HasSubstr("mtp_block is 3"));
}

TEST(MemoryPlan, RefusesWhatDoesNotFit) {
  MemoryPlan plan;
  plan.weights = 1000 << 20;
  plan.kv_pool = 500 << 20;
  const MemoryDemand demand{500, 1, 1};
  const auto available = [](std::int64_t mib) {
    return weights::AvailableMemory{mib << 20, "MemAvailable"};
  };
  EXPECT_TRUE(CheckMemory(plan, demand, available(1600), 100 << 20).ok());
  const absl::Status less = CheckMemory(plan, demand, available(1400), 100 << 20);
  EXPECT_EQ(less.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(less.message()),
              HasSubstr("needs 1500.0 MiB, but only 1300.0 MiB are to be had (MemAvailable: 1400.0 "
                        "MiB, less a reserve of 100.0 MiB); give the KV pool at most 300 blocks "
                        "instead of 500"));
  EXPECT_THAT(std::string(CheckMemory(plan, demand, available(900), 0).message()),
              HasSubstr("; use more ranks, a machine with more memory"));
}

}  // namespace
}  // namespace sparkspan::engine::model
