#include "deploy/cli/bench_command.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::deploy::cli {
namespace {

struct Outcome {
  int exit_status = 0;
  std::string out;
  std::string err;
};

// A run that takes little; more flags go behind.
Outcome RunBench(const std::filesystem::path& folder, std::vector<std::string> flags) {
  std::vector<std::string> args = {"step",
                                   "--bytes=1000000",
                                   "--context=5",
                                   "--prefill=12",
                                   "--steps=6",
                                   "--exchanges=3",
                                   "--buffer-bytes=1048576",
                                   "--folder=" + folder.string()};
  args.insert(args.end(), flags.begin(), flags.end());
  const std::vector<std::string_view> views(args.begin(), args.end());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int exit_status = RunBenchCommand(views);
  const std::string out = testing::internal::GetCapturedStdout();
  return {exit_status, out, testing::internal::GetCapturedStderr()};
}

TEST(BenchCommandTest, PrintsConsistentJsonAndLeavesNothing) {
  const tests::TemporaryFolder parent;
  const std::filesystem::path folder = parent.path() / "new";
  const Outcome outcome = RunBench(folder, {"--json", "--ranks=2"});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(folder));
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json.at("version"), 1);
  EXPECT_EQ(json.at("run"), nlohmann::json({{"ranks", 2}, {"threads", 2}, {"seed", 1}}));
  EXPECT_EQ(json.at("decode").at("context_tokens"), 5);
  EXPECT_EQ(json.at("decode").at("steps"), 6);
  EXPECT_EQ(json.at("prefill").at("tokens"), 12);
  EXPECT_EQ(json.at("bandwidth").at("passes"), 2);  // after step 4 and at the end
  const auto positive = [&](const char* object, const char* field) {
    const double value = json.at(object).at(field);
    EXPECT_GT(value, 0.0) << object << "." << field;
    return value;
  };
  positive("start", "open_s");
  positive("start", "plan_s");
  positive("start", "bind_s");
  positive("outside_model", "sample_median_us");
  EXPECT_GE(positive("outside_model", "p99_us"), positive("outside_model", "median_us"));
  EXPECT_DOUBLE_EQ(positive("start", "read_bytes_per_s"),
                   positive("start", "read_bytes") / positive("start", "read_s"));
  EXPECT_DOUBLE_EQ(positive("prefill", "tokens_per_s"), 12 / positive("prefill", "seconds"));
  EXPECT_GE(positive("decode", "median_s"), positive("decode", "best_s"));
  EXPECT_LE(positive("decode", "tokens_per_s"), 1 / positive("decode", "best_s"));
  const double bytes = json.at("decode").at("weight_bytes_per_token").at("total");
  EXPECT_GT(json.at("model").at("bytes"), bytes);  // not all experts
  EXPECT_DOUBLE_EQ(
      positive("decode", "share_of_bandwidth_median"),
      bytes / positive("decode", "median_s") / positive("bandwidth", "median_bytes_per_s"));
  EXPECT_DOUBLE_EQ(
      positive("decode", "share_of_bandwidth_best"),
      bytes / positive("decode", "best_s") / positive("bandwidth", "best_bytes_per_s"));
  std::vector<std::int64_t> sizes;
  for (const auto& exchange : json.at("all_reduce")) {
    sizes.push_back(exchange.at("bytes"));
    EXPECT_GT(exchange.at("tcp_median_us"), 0.0);
    EXPECT_GT(exchange.at("local_median_us"), 0.0);
  }
  EXPECT_THAT(sizes, testing::ElementsAre(8192, 16384, 32768, 65536, 131072));
}

TEST(BenchCommandTest, TakesAKeptCheckpointAgainAndRefusesAnother) {
  const tests::TemporaryFolder folder;  // empty: the command may fill it
  ASSERT_EQ(RunBench(folder.path(), {"--keep"}).exit_status, 0);
  const std::string config = tests::ReadText(folder.path() / "config.json");
  EXPECT_FALSE(config.empty());

  const Outcome again = RunBench(folder.path(), {});
  EXPECT_EQ(again.exit_status, 0) << again.err;
  EXPECT_THAT(again.err, testing::HasSubstr("found in"));
  for (const char* row : {"machine",
                          "model",
                          "run",
                          "start",
                          "read from files",
                          "decode",
                          "weights read per token",
                          "memory read beside",
                          "prefill",
                          "step outside the model",
                          "all-reduce 128 KiB"}) {
    EXPECT_THAT(again.out, testing::HasSubstr(row));
  }
  // What was there before stays there.
  EXPECT_EQ(tests::ReadText(folder.path() / "config.json"), config);

  const Outcome other = RunBench(folder.path(), {"--seed=2"});
  EXPECT_EQ(other.exit_status, 1);
  EXPECT_THAT(other.err, testing::HasSubstr("name an empty or a new folder"));
  EXPECT_EQ(tests::ReadText(folder.path() / "config.json"), config);
}

TEST(BenchCommandTest, EmptiesAFolderThatWasEmpty) {
  const tests::TemporaryFolder folder;
  ASSERT_EQ(RunBench(folder.path(), {}).exit_status, 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(BenchCommandTest, TellsWrongArgumentsAndFailedRunsApart) {
  const tests::TemporaryFolder folder;
  EXPECT_EQ(RunBench(folder.path(), {"--steps=0"}).exit_status, 2);
  const Outcome help = RunBench(folder.path(), {"--help"});
  EXPECT_EQ(help.exit_status, 0);
  EXPECT_THAT(help.out, testing::HasSubstr("usage: sparkspan bench step"));
  // The small model has four output groups.
  const Outcome ranks = RunBench(folder.path(), {"--ranks=5"});
  EXPECT_EQ(ranks.exit_status, 1);
  EXPECT_THAT(ranks.err, testing::HasSubstr("--ranks 5"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace sparkspan::deploy::cli
