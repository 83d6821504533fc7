// The proof command of drafts as a program: arguments and files in, files out.
#include "deploy/cli/draft_command.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "deploy/cli/tensor_file.h"
#include "tests/golden/draft_run.h"
#include "tests/golden_path.h"
#include "tests/unit/engine/draft/small_drafter.h"

namespace sparkspan::tests {
namespace {

using deploy::cli::ReadTensors;
using deploy::cli::RunDraftCommand;
using nlohmann::json;

int RunDraft(const std::string& model,
             const TemporaryFolder& folder,
             std::vector<std::string> more) {
  std::vector<std::string> words = {"--model",
                                    model,
                                    "--input",
                                    (folder.path() / "in.json").string(),
                                    "--output",
                                    (folder.path() / "out").string()};
  words.insert(words.end(), more.begin(), more.end());
  const std::vector<std::string_view> args(words.begin(), words.end());
  return RunDraftCommand(args);
}

double MaxError(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double error = 0.0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    error = std::max(error, std::fabs(static_cast<double>(a[i]) - b[i]));
  }
  return error;
}

TEST(DraftCommand, WritesWhatTheReferenceDrafted) {
  const auto golden = GoldenPath("dspark-a");
  if (!golden) {
    GTEST_SKIP() << "no golden data 'dspark-a'";
  }
  const DraftSet set = LoadDraftSet(*golden);
  const TemporaryFolder folder;
  const json input = {{"cases",
                       {{{"name", "p9"},
                         {"prompt_length", 9},
                         {"sequence", set.prompts.at("p9").sequence},
                         {"steps", 20}}}}};
  WriteText(folder.path() / "in.json", input.dump());
  ASSERT_EQ(
      RunDraft(golden->string(), folder, {"--numerics=unquantised", "--ranks=2", "--chunk=4"}), 0);
  const auto out = ReadTensors((folder.path() / "out").string()).value();
  for (const auto& [name, shape] :
       {std::pair<std::string, std::vector<std::int64_t>>{"target_logits", {20, 512}},
        {"logits", {20, 5, 512}},
        {"confidence", {20, 5}}}) {
    EXPECT_EQ(out.at("p9." + name).shape, shape);
    const double error =
        MaxError(out.at("p9." + name).values, set.vectors->Floats("hp/p9/" + name));
    std::printf("p9.%s: %.1e of 1e-3\n", name.c_str(), error);
    EXPECT_LE(error, 1e-3);
  }
  const GoldenTensors file(folder.path() / "out");
  EXPECT_EQ(file["p9.draft_ids"].dtype, "I32");
  EXPECT_EQ(file["p9.draft_ids"].shape, (std::vector<std::int64_t>{20, 6}));
  EXPECT_EQ(file["p9.draft_ids"].bytes, (*set.vectors)["hp/p9/draft_ids"].bytes);
}

// A block of the first release has no confidences.
TEST(DraftCommand, WritesWhatAnMtpBlockDrafts) {
  const TemporaryFolder model;
  ASSERT_TRUE(engine::weights::GenerateCheckpoint(SmallMtpShape(), model.path()).ok());
  const TemporaryFolder folder;
  const json input = {
      {"cases", {{{"name", "a"}, {"prompt_length", 1}, {"sequence", {1, 2, 3, 4}}, {"steps", 3}}}}};
  WriteText(folder.path() / "in.json", input.dump());
  ASSERT_EQ(RunDraft(model.path().string(), folder, {"--mtp-block", "2"}), 0);
  const GoldenTensors file(folder.path() / "out");
  EXPECT_EQ(file["a.draft_ids"].shape, (std::vector<std::int64_t>{3, 3}));
  EXPECT_EQ(file["a.draft_ids"].As<std::int32_t>()[3], 3);  // the anchor of step 1
  EXPECT_EQ(file["a.logits"].shape, (std::vector<std::int64_t>{3, 2, 67}));
  EXPECT_EQ(file["a.target_logits"].shape, (std::vector<std::int64_t>{3, 67}));
  EXPECT_FALSE(file.Has("a.confidence"));
}

TEST(DraftCommand, RefusesWrongArgumentsAndFiles) {
  const TemporaryFolder model;
  ASSERT_TRUE(engine::weights::GenerateCheckpoint(SmallMtpShape(), model.path()).ok());
  const TemporaryFolder folder;
  const auto run = [&](const json& sequence, int steps, std::vector<std::string> more = {}) {
    const json input = {
        {"cases",
         {{{"name", "a"}, {"prompt_length", 1}, {"sequence", sequence}, {"steps", steps}}}}};
    WriteText(folder.path() / "in.json", input.dump());
    return RunDraft(model.path().string(), folder, std::move(more));
  };
  EXPECT_EQ(run({1, 2, 3}, 2, {"--ranks", "none"}), 2);
  EXPECT_EQ(run({1, 2, 3}, 2, {"--mtp-block", "3"}), 2);
  EXPECT_EQ(run({1, 2, 3}, 2, {"--ranks", "9"}), 1);  // Eight output groups.
  EXPECT_EQ(run({1, 2, 3}, 3), 1);                    // No anchor for the last step.
  EXPECT_EQ(run({1, 2, 67}, 2), 1);                   // Outside the vocabulary.
  EXPECT_EQ(run("text", 2), 1);
  EXPECT_EQ(run({1, 2, 3}, 0), 1);
  const TemporaryFolder plain;
  ASSERT_TRUE(engine::weights::GenerateCheckpoint(SmallShape(), plain.path()).ok());
  EXPECT_EQ(RunDraft(plain.path().string(), folder, {}), 1);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "out"));
}

}  // namespace
}  // namespace sparkspan::tests
