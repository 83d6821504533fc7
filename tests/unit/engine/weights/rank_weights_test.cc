#include "engine/weights/rank_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/golden_path.h"
#include "tests/golden_tensors.h"
#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::engine::weights {
namespace {

using ::testing::HasSubstr;

// The tensors of a folder, by the tests' own reader.
class Whole {
 public:
  explicit Whole(const Checkpoint& checkpoint) {
    for (const CheckpointFile& file : checkpoint.index().files) {
      files_.emplace_back(file.path);
    }
  }
  const tests::GoldenTensor& operator[](const std::string& name) const {
    for (const tests::GoldenTensors& file : files_) {
      if (file.Has(name)) {
        return file[name];
      }
    }
    throw std::runtime_error("no tensor " + name);
  }

 private:
  std::vector<tests::GoldenTensors> files_;
};

// Loads every rank, compares each byte with the whole tensor's, and counts how often each stored
// element was loaded.
void ExpectReassembles(const Checkpoint& checkpoint, int ranks, bool experts_whole, int unit) {
  SCOPED_TRACE(std::to_string(ranks) + (experts_whole ? " ranks, whole" : " ranks, split"));
  const Whole whole(checkpoint);
  std::map<std::string, std::vector<int>> loads;
  std::set<std::string> shared;  // held whole by every rank
  for (int rank = 0; rank < ranks; ++rank) {
    const auto loaded = LoadRank(
        checkpoint, {rank, ranks, experts_whole, unit}, {.draft = true, .reader_threads = 2});
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    for (const TensorSlice& slice : (*loaded)->plan().slices) {
      const TensorSpec& spec = slice.spec;
      const tests::GoldenTensor& tensor = whole[spec.name];
      const std::span<const std::byte> bytes = (*loaded)->BytesOf(slice);
      const auto width = static_cast<std::size_t>(spec.stored_columns() * DtypeBytes(spec.dtype));
      const auto row_bytes = static_cast<std::size_t>(slice.row_bytes());
      const auto begin =
          static_cast<std::size_t>(slice.stored_columns.begin * DtypeBytes(spec.dtype));
      if (spec.division == Division::kWhole) {
        shared.insert(spec.name);
      }
      std::vector<int>& seen = loads[spec.name];
      seen.resize(tensor.bytes.size());
      bool same = true;
      for (std::size_t row = 0; row < bytes.size() / row_bytes; ++row) {
        const std::size_t at =
            (static_cast<std::size_t>(slice.stored_rows.begin) + row) * width + begin;
        same =
            same && std::equal(bytes.begin() + static_cast<std::ptrdiff_t>(row * row_bytes),
                               bytes.begin() + static_cast<std::ptrdiff_t>((row + 1) * row_bytes),
                               tensor.bytes.begin() + static_cast<std::ptrdiff_t>(at));
        for (std::size_t i = 0; i < row_bytes; ++i) {
          ++seen[at + i];
        }
      }
      EXPECT_TRUE(same) << spec.name << " of rank " << rank;
    }
  }
  for (const TensorSpec& spec : ExpectedTensors(checkpoint.shape())) {
    const std::vector<int>& seen = loads[spec.name];
    ASSERT_EQ(seen.size(), static_cast<std::size_t>(spec.bytes())) << spec.name;
    const auto [least, most] = std::minmax_element(seen.begin(), seen.end());
    const int expected = shared.contains(spec.name) ? ranks : 1;
    EXPECT_GE(*least, expected) << spec.name;
    // A scale whose block straddles ranks is loaded by each of them.
    if (spec.dtype != Dtype::kE8m0) {
      EXPECT_EQ(*most, expected) << spec.name;
    }
  }
}

TEST(RankWeights, SlicesOfAllRanksReassembleToTheWhole) {
  const tests::TemporaryFolder folder;
  ASSERT_TRUE(GenerateCheckpoint(tests::SmallDsparkShape(), folder.path()).ok());
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const bool experts_whole : {false, true}) {
      ExpectReassembles(**checkpoint, ranks, experts_whole, ranks == 4 ? 128 : 32);
    }
  }
}

TEST(RankWeights, GoldenSlicesReassembleToTheWhole) {
  const auto folder = tests::GoldenPath("model-c");
  if (!folder) {
    GTEST_SKIP() << "no golden data 'model-c'";
  }
  const auto checkpoint = Checkpoint::Open(*folder);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  for (const int ranks : {1, 3, 8}) {
    ExpectReassembles(**checkpoint, ranks, /*experts_whole=*/false, 32);
  }
}

TEST(RankWeights, LeavesDraftStagesOutUnlessAsked) {
  const tests::TemporaryFolder folder;
  ASSERT_TRUE(GenerateCheckpoint(tests::SmallDsparkShape(), folder.path()).ok());
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const auto plain = LoadRank(**checkpoint, {});
  const auto drafting = LoadRank(**checkpoint, {}, {.draft = true});
  ASSERT_TRUE(plain.ok() && drafting.ok());
  EXPECT_EQ((*plain)->Find("mtp.0.main_proj.weight"), nullptr);
  EXPECT_NE((*drafting)->Find("mtp.0.main_proj.weight"), nullptr);
  EXPECT_LT((*plain)->report().slice_bytes, (*drafting)->report().slice_bytes);
  // Drafting looks tokens up on every rank.
  EXPECT_EQ((*LoadRank(**checkpoint, {1, 2}))->Find("embed.weight")->rows.size(), 34);
  EXPECT_EQ((*LoadRank(**checkpoint, {1, 2}, {.draft = true}))->Find("embed.weight")->rows.size(),
            67);
}

TEST(RankWeights, ReportsWhatLoadingTook) {
  const auto checkpoint = Checkpoint::Open("deploy/demo/model");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const auto loaded = LoadRank(**checkpoint, {1, 2});
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const LoadReport& report = (*loaded)->report();
  EXPECT_GT(report.slices, 0);
  EXPECT_GE(report.arena_bytes, report.slice_bytes);
  EXPECT_GE(report.read.bytes, static_cast<std::uint64_t>(report.slice_bytes));
  EXPECT_THAT(report.Text(), HasSubstr("rank 1 of 2: "));
  for (const int threads : {0, 17}) {
    EXPECT_THAT(
        std::string(LoadRank(**checkpoint, {}, {.reader_threads = threads}).status().message()),
        HasSubstr("reader_threads"));
  }
}

TEST(RankWeights, LoadingCanBeStopped) {
  const auto checkpoint = Checkpoint::Open("deploy/demo/model");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  std::stop_source stop;
  LoadOptions options{.stop = stop.get_token()};
  EXPECT_TRUE(LoadRank(**checkpoint, {1, 2}, options).ok());
  stop.request_stop();
  EXPECT_TRUE(absl::IsCancelled(LoadRank(**checkpoint, {1, 2}, options).status()));
}

}  // namespace
}  // namespace sparkspan::engine::weights
