#include "engine/model/mapped_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/model/assemble_parts.h"
#include "tests/golden_path.h"

namespace sparkspan::engine::model {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// A copy of the golden checkpoint that a test may damage.
class MappedCheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto golden = tests::GoldenPath("model-a");
    if (!golden) {
      GTEST_SKIP() << "no golden data 'model-a'";
    }
    std::string name = (std::filesystem::temp_directory_path() / "checkpoint-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    for (const char* file : {"config.json", kFirst, kSecond}) {
      std::filesystem::copy(*golden / file, folder_ / file);
    }
    std::filesystem::permissions(folder_ / "config.json", std::filesystem::perms::owner_all);
    std::filesystem::permissions(folder_ / kFirst, std::filesystem::perms::owner_all);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // What opening and assembling says.
  std::string Error(const RankShare& share = {}) {
    const auto checkpoint = MappedCheckpoint::Open(folder_);
    if (!checkpoint.ok()) {
      return std::string(checkpoint.status().message());
    }
    const auto parts = AssembleParts(*checkpoint, share);
    return parts.ok() ? "" : std::string(parts.status().message());
  }

  // Changes one value of config.json; null removes it.
  void Configure(const std::string& key, const json& value) {
    json config;
    std::ifstream(folder_ / "config.json") >> config;
    if (value.is_null()) {
      config.erase(key);
    } else {
      config[key] = value;
    }
    std::ofstream(folder_ / "config.json") << config;
  }

  // Replaces one stretch of the first shard's header by another of the same length.
  void Rewrite(const std::string& from, const std::string& to) {
    ASSERT_EQ(from.size(), to.size());
    std::fstream file(folder_ / kFirst, std::ios::in | std::ios::out | std::ios::binary);
    std::string text(1 << 20, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    file.clear();
    file.seekp(static_cast<std::streamoff>(at));
    file.write(to.data(), static_cast<std::streamsize>(to.size()));
  }

  static constexpr const char* kFirst = "model-00001-of-00002.safetensors";
  static constexpr const char* kSecond = "model-00002-of-00002.safetensors";
  std::filesystem::path folder_;
};

TEST_F(MappedCheckpointTest, ReadsAPublishedFolder) {
  EXPECT_EQ(Error(), "");
  EXPECT_EQ(Error({1, 2, true, 128}), "");
}

TEST_F(MappedCheckpointTest, NamesWhatIsWrongInTheConfig) {
  const std::tuple<const char*, json, const char*> wrongs[] = {
      {"hidden_size", 200, "multiples of 128"},
      {"hidden_size", "256", "hidden_size must be an integer"},
      {"head_dim", json(), "head_dim must be an integer"},
      {"compress_ratios", json::array({0, 0, 5, 128, 4, 128, 4}), "compress_ratios[2] is 5"},
      {"compress_ratios", json::array({0}), "compress_ratios must list"},
      {"num_experts_per_tok", 17, "multiples of 128"},
      {"vocab_size", -1, "vocab_size must be an integer"},
      {"rope_theta", "much", "rope_theta must be a number"}};
  for (const auto& [key, value, message] : wrongs) {
    json before;
    std::ifstream(folder_ / "config.json") >> before;
    Configure(key, value);
    EXPECT_THAT(Error(), HasSubstr(message)) << key;
    std::ofstream(folder_ / "config.json") << before;
  }
}

TEST_F(MappedCheckpointTest, NamesATensorThatDoesNotFit) {
  Configure("vocab_size", 641);
  EXPECT_THAT(Error(), HasSubstr("embed.weight is BF16 [640, 256], expected F32|BF16 [641, 256]"));
}

TEST_F(MappedCheckpointTest, NoticesAMissingFile) {
  std::filesystem::remove(folder_ / kSecond);
  EXPECT_THAT(Error(), HasSubstr("has no tensor"));
  std::filesystem::remove(folder_ / kFirst);
  EXPECT_THAT(Error(), HasSubstr("has no model*.safetensors files"));
}

TEST_F(MappedCheckpointTest, RefusesATruncatedShard) {
  const std::uintmax_t size = std::filesystem::file_size(folder_ / kFirst);
  for (const std::uintmax_t kept :
       {std::uintmax_t{0}, std::uintmax_t{7}, std::uintmax_t{100}, size - 1}) {
    std::filesystem::resize_file(folder_ / kFirst, kept);
    EXPECT_THAT(Error(), HasSubstr(kFirst)) << kept;
  }
}

TEST_F(MappedCheckpointTest, RefusesAMalformedHeader) {
  Rewrite("\"dtype\":", "\"dtipe\":");
  EXPECT_THAT(Error(), HasSubstr("a malformed entry"));
}

TEST_F(MappedCheckpointTest, RefusesATensorOfAnotherType) {
  Rewrite("\"F8_E4M3\"", "\"F8_E5M2\"");
  EXPECT_THAT(Error(), HasSubstr("F8_E5M2"));
}

TEST_F(MappedCheckpointTest, RefusesRanksThatGetNothing) {
  EXPECT_THAT(Error({0, 3, false, 32}), HasSubstr("runs on 1 to 2 ranks"));
  EXPECT_THAT(Error({2, 2, false, 32}), HasSubstr("rank 2 of 2"));
}

}  // namespace
}  // namespace sparkspan::engine::model
