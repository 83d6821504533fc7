#include "deploy/cli/bench_draft.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "deploy/cli/bench_cases.h"
#include "deploy/cli/bench_checkpoint.h"
#include "deploy/cli/bench_command.h"
#include "gmock/gmock.h"
#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::deploy::cli {
namespace {

using ::testing::HasSubstr;

BenchDraftOptions SmallRun() {
  BenchDraftOptions options;
  options.random.checkpoint_bytes = 1'000'000;
  options.random.draft_stages = 1;
  options.requests = 3;
  options.tokens = 32;
  options.sequences = 2;
  options.repeats = 2;
  options.threads = 1;
  return options;
}

TEST(BenchDraft, AnOracleIsAcceptedWhole) {
  const tests::TemporaryFolder folder;
  BenchDraftOptions options = SmallRun();
  options.random.folder = folder.path();
  options.oracle = true;
  const auto checkpoint = BenchCheckpoint::Prepare(options.random);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const auto report = TimeDrafting(options, checkpoint->folder());
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(report->drafter, "dspark");
  EXPECT_EQ(report->block, 5);
  ASSERT_EQ(report->classes.size(), 1u);
  const DraftClassReport& random = report->classes[0];
  EXPECT_EQ(random.requests, 3);
  // 31 tokens after the first: five steps of six, and one of the token that is left.
  EXPECT_NEAR(random.acceptance_length, 31.0 / 6, 1e-9);
  EXPECT_GT(random.plain_ms, 0);
  EXPECT_GT(random.verify_ms, 0);
  EXPECT_GT(random.draft_ms, 0);
  EXPECT_EQ(report->hardware_saturated.size(), 2u);
  const auto json = nlohmann::json::parse(DraftReportJson(*report));
  EXPECT_EQ(json.at("classes").at(0).at("name"), "random");
  EXPECT_THAT(DraftReportTable(*report), HasSubstr("one at a time"));
}

TEST(BenchDraft, ReadsCasesByClassAndMode) {
  const tests::TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "cases.json";
  std::ofstream(file) << R"({"cases": [
    {"task": "counting", "request": {"messages": [{"role": "user", "content": "Count."}],
     "chat_template_kwargs": {"thinking": false}}},
    {"task": "counting", "request": {"messages": [{"role": "user", "content": "Think."}]}},
    {"task": "counting", "request": {"messages": [{"role": "user", "content": "One more."}],
     "chat_template_kwargs": {"thinking": false}}}]})";
  const auto demo = engine::weights::Checkpoint::Open("deploy/demo/model").value();
  const auto classes = ReadBenchCases(file, *demo, 1, 20);
  ASSERT_TRUE(classes.ok()) << classes.status().message();
  ASSERT_EQ(classes->size(), 2u);
  EXPECT_EQ((*classes)[0].name, "counting");
  EXPECT_EQ((*classes)[0].requests.size(), 1u);
  EXPECT_EQ((*classes)[1].name, "counting, thinking");
  EXPECT_EQ((*classes)[1].requests[0].max_tokens, 20);
  EXPECT_FALSE((*classes)[1].requests[0].end_tokens.empty());
  EXPECT_GT((*classes)[1].requests[0].prompt.size(), 3u);
  std::ofstream(file) << R"({"cases": [{"task": "counting"}]})";
  EXPECT_THAT(std::string(ReadBenchCases(file, *demo, 1, 20).status().message()),
              HasSubstr("cases[0] needs a task and a request"));
  std::ofstream(file) << "no JSON";
  EXPECT_THAT(std::string(ReadBenchCases(file, *demo, 1, 20).status().message()),
              HasSubstr("not JSON"));
}

TEST(BenchDraft, RefusesWhatItCannotMeasure) {
  const auto refusal = [](std::vector<std::string_view> args) {
    args.insert(args.begin(), "draft");
    testing::internal::CaptureStderr();
    const int status = RunBenchCommand(args);
    return std::to_string(status) + testing::internal::GetCapturedStderr();
  };
  EXPECT_THAT(refusal({"--model-path", "somewhere"}), HasSubstr("give both"));
  EXPECT_THAT(refusal({"--tokens", "3"}), HasSubstr("--tokens 3"));
  EXPECT_THAT(refusal({"--model-path", "no/such/folder", "--cases", "no/such/file"}),
              HasSubstr("1bench draft: "));
}

}  // namespace
}  // namespace sparkspan::deploy::cli
