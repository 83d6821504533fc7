// The proof command as a program: arguments and files in, files out.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "deploy/cli/score_command.h"
#include "deploy/cli/tensor_file.h"
#include "tests/golden/golden_run.h"

namespace sparkspan::tests {
namespace {

using deploy::cli::F32Tensor;
using deploy::cli::ReadTensors;
using deploy::cli::RunScoreCommand;

class Score : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto folder = GoldenPath("model-a");
    if (!folder) {
      GTEST_SKIP() << "no golden data 'model-a'";
    }
    model_ = folder->string();
    set_ = LoadGoldenSet(*folder);
    std::string name = (std::filesystem::temp_directory_path() / "score-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    const nlohmann::json input = {{"cases",
                                   {{{"name", "p7"},
                                     {"tokens", set_.Tokens("p7")},
                                     {"decode_tokens", set_.DecodeTokens("p7")}},
                                    {{"name", "one"}, {"tokens", {0}}}}}};
    std::ofstream(File("in.json")) << input;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string File(const std::string& name) const { return (folder_ / name).string(); }

  int Run(const std::string& output, std::vector<std::string> more) const {
    std::vector<std::string> words = {
        "--model", model_, "--input", File("in.json"), "--output", File(output)};
    words.insert(words.end(), more.begin(), more.end());
    const std::vector<std::string_view> args(words.begin(), words.end());
    return RunScoreCommand(args);
  }

  std::string model_;
  GoldenSet set_;
  std::filesystem::path folder_;
};

double MaxError(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double error = 0.0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    error = std::max(error, std::fabs(static_cast<double>(a[i]) - b[i]));
  }
  return error;
}

TEST_F(Score, WritesTheLogitsAndTheTrace) {
  ASSERT_EQ(Run("out", {"--numerics=unquantised", "--ranks", "2", "--chunk", "3", "--trace"}), 0);
  const auto out = ReadTensors(File("out")).value();
  const auto expect = [&](const std::string& name, const std::string& golden, double tolerance) {
    const double error = MaxError(out.at(name).values, set_.vectors->Floats(golden));
    std::printf("%s: %.1e of %.0e\n", name.c_str(), error, tolerance);
    EXPECT_LE(error, tolerance) << name;
  };
  expect("p7.prefill_logits", "hp/p7/prefill_logits", 1e-3);
  expect("p7.decode_logits", "hp/p7/decode_logits", 1e-3);
  EXPECT_EQ(out.at("p7.hidden").shape, (std::vector<std::int64_t>{8, 23, 4, 256}));
  EXPECT_EQ(out.at("p7.router").shape, (std::vector<std::int64_t>{7, 23, 6}));
  EXPECT_EQ(out.at("p7.index.4").shape, (std::vector<std::int64_t>{23, 32}));
  EXPECT_EQ(out.at("p7.index.4").values[7 * 32 + 2], -1.0f);  // Position 7 sees entries 0 and 1.
  EXPECT_EQ(out.at("p7.index.4").values[7 * 32 + 1], 1.0f);
  EXPECT_FALSE(out.contains("p7.index.3"));
  EXPECT_EQ(out.at("one.decode_logits").shape, (std::vector<std::int64_t>{0, 640}));
  // The trace's rows of all positions against the reference's, layer by layer.
  const std::vector<float> all = set_.vectors->Floats("hp/p7/h_all");
  const std::vector<float>& hidden = out.at("p7.hidden").values;
  double error = 0.0;
  for (std::size_t layer = 0; layer < 8; ++layer) {
    for (std::size_t i = 0; i < 7 * 1024; ++i) {
      error = std::max(error,
                       std::fabs(static_cast<double>(hidden[layer * 23 * 1024 + i]) -
                                 all[layer * 7 * 1024 + i]));
    }
  }
  std::printf("p7.hidden: %.1e of 1e-3\n", error);
  EXPECT_LE(error, 1e-3);
}

TEST_F(Score, InjectionOfItsOwnTraceChangesNothing) {
  ASSERT_EQ(Run("first", {"--trace"}), 0);
  ASSERT_EQ(Run("second", {"--trace", "--inject", "3=" + File("first")}), 0);
  const auto first = ReadTensors(File("first")).value();
  const auto second = ReadTensors(File("second")).value();
  EXPECT_EQ(first.at("p7.decode_logits").values, second.at("p7.decode_logits").values);
  // A different input to layer 3 is seen from there on.
  std::map<std::string, F32Tensor> other;
  for (const auto& [name, rows] : {std::pair{"p7", 23}, {"one", 1}}) {
    other[name] = {{rows, 4, 256}, std::vector<float>(static_cast<std::size_t>(rows) * 1024, 1.0f)};
  }
  ASSERT_TRUE(deploy::cli::WriteTensors(File("other"), other).ok());
  ASSERT_EQ(Run("third", {"--trace", "--inject", "3=" + File("other")}), 0);
  const auto third = ReadTensors(File("third")).value();
  EXPECT_NE(first.at("p7.decode_logits").values, third.at("p7.decode_logits").values);
}

TEST_F(Score, RefusesWrongArgumentsAndFiles) {
  EXPECT_EQ(Run("out", {"--ranks", "none"}), 2);
  EXPECT_EQ(Run("out", {"--experts", "half"}), 2);
  EXPECT_EQ(Run("out", {"--unknown", "1"}), 2);
  EXPECT_EQ(Run("out", {"--trace", "--chunk"}), 2);
  EXPECT_EQ(Run("out", {"--ranks", "3"}), 1);  // Two output groups.
  EXPECT_EQ(Run("out", {"--inject", "3=" + File("in.json")}), 1);
  std::ofstream(File("in.json")) << R"({"cases": [{"name": "a", "tokens": [640]}]})";
  EXPECT_EQ(Run("out", {}), 1);  // Outside the vocabulary.
  EXPECT_FALSE(std::filesystem::exists(File("out")));
}

}  // namespace
}  // namespace sparkspan::tests
