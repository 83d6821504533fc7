#include "deploy/cli/bench_options.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"

namespace sparkspan::deploy::cli {
namespace {

absl::StatusOr<BenchOptions> Parse(const std::vector<std::string_view>& args) {
  return ParseBenchOptions(args);
}

std::string MessageOf(const std::vector<std::string_view>& args) {
  return std::string(Parse(args).status().message());
}

TEST(BenchOptionsTest, ReadsEveryFlagInBothSpellings) {
  const auto options = Parse({"step",
                              "--bytes",
                              "3000000",
                              "--folder=/a=b",
                              "--keep",
                              "--threads",
                              "3",
                              "--ranks=2",
                              "--context",
                              "7",
                              "--prefill=9",
                              "--steps",
                              "11",
                              "--exchanges=13",
                              "--buffer-bytes",
                              "1048576",
                              "--seed=0",
                              "--json"});
  ASSERT_TRUE(options.ok()) << options.status().message();
  EXPECT_EQ(options->checkpoint_bytes, 3'000'000);
  EXPECT_EQ(options->folder, "/a=b");
  EXPECT_TRUE(options->keep);
  EXPECT_TRUE(options->json);
  EXPECT_EQ(options->threads, 3);
  EXPECT_EQ(options->ranks, 2);
  EXPECT_EQ(options->context, 7);
  EXPECT_EQ(options->prefill, 9);
  EXPECT_EQ(options->steps, 11);
  EXPECT_EQ(options->exchanges, 13);
  EXPECT_EQ(options->buffer_bytes, 1'048'576);
  EXPECT_EQ(options->seed, 0u);
}

TEST(BenchOptionsTest, HasTheDefaultsThatTheUsageStates) {
  const auto options = Parse({"step"});
  ASSERT_TRUE(options.ok()) << options.status().message();
  EXPECT_TRUE(options->folder.empty());
  EXPECT_FALSE(options->keep);
  EXPECT_FALSE(options->json);
  const auto stated = [](const char* flag, auto value) {
    const std::string usage = kBenchUsage;
    const std::size_t line = usage.find(std::string("\n  ") + flag + " ");
    ASSERT_NE(line, std::string::npos) << flag;
    const std::string text = usage.substr(line, usage.find("\n  --", line + 1) - line);
    EXPECT_THAT(text, testing::HasSubstr("(" + std::to_string(value) + ")"));
  };
  stated("--bytes", options->checkpoint_bytes);
  stated("--threads", options->threads);
  stated("--ranks", options->ranks);
  stated("--context", options->context);
  stated("--prefill", options->prefill);
  stated("--steps", options->steps);
  stated("--exchanges", options->exchanges);
  stated("--buffer-bytes", options->buffer_bytes);
  stated("--seed", options->seed);
}

TEST(BenchOptionsTest, NamesFlagValueAndRange) {
  EXPECT_THAT(MessageOf({}), testing::HasSubstr("nothing: give `step`"));
  EXPECT_THAT(MessageOf({"forward"}), testing::HasSubstr("forward: give `step`"));
  EXPECT_EQ(MessageOf({"step", "--speed", "1"}), "there is no flag --speed");
  EXPECT_EQ(MessageOf({"step", "--keep=1"}), "there is no flag --keep");
  EXPECT_EQ(MessageOf({"step", "--steps"}), "--steps needs a value");
  EXPECT_EQ(MessageOf({"step", "--steps", "0"}), "--steps 0: give a whole number from 1 to 8192");
  EXPECT_EQ(MessageOf({"step", "--ranks", "9"}), "--ranks 9: give a whole number from 1 to 8");
  EXPECT_EQ(MessageOf({"step", "--threads", "2x"}),
            "--threads 2x: give a whole number from 1 to 256");
  EXPECT_THAT(MessageOf({"step", "--bytes", "2GB"}), testing::HasSubstr("--bytes 2GB"));
  EXPECT_EQ(MessageOf({"step", "--folder="}), "--folder: its value is empty");
}

}  // namespace
}  // namespace sparkspan::deploy::cli
