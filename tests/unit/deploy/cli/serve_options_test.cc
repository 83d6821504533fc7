#include "deploy/cli/serve_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sparkspan::deploy::cli {
namespace {

using ::testing::HasSubstr;
using Args = std::vector<std::string_view>;

TEST(ServeOptionsTest, ReadsEveryFlag) {
  const Args args = {"--model-path",
                     "m",
                     "--ranks=3",
                     "--threads",
                     "2",
                     "--host",
                     "127.0.0.2",
                     "--port",
                     "8123",
                     "--served-model-name",
                     "a",
                     "--served-model-name=b",
                     "--max-model-len",
                     "1000",
                     "--max-num-seqs",
                     "5",
                     "--max-num-batched-tokens",
                     "256",
                     "--max-waiting-requests",
                     "0",
                     "--kv-tokens",
                     "4096",
                     "--memory-reserve-bytes",
                     "7",
                     "--numerics",
                     "unquantised",
                     "--experts",
                     "whole",
                     "--encoding-profile",
                     "0731",
                     "--default-thinking",
                     "off",
                     "--api-keys-file",
                     "keys",
                     "--accept-any-model-name",
                     "yes",
                     "--max-tokens-cap",
                     "77",
                     "--reasoning-field",
                     "reasoning"};
  const auto options = ParseServeOptions(args);
  ASSERT_TRUE(options.ok()) << options.status();
  const engine::config::LocalCluster& cluster = options->cluster;
  EXPECT_EQ(cluster.model.path, "m");
  EXPECT_THAT(cluster.model.served_names, testing::ElementsAre("a", "b"));
  EXPECT_EQ(cluster.model.encoding_profile, engine::config::EncodingProfile::k0731);
  EXPECT_EQ(cluster.model.default_thinking, "off");
  EXPECT_EQ(options->ranks, 3);
  ASSERT_EQ(cluster.devices.size(), 3u);
  EXPECT_EQ(cluster.devices[2].cpu_threads, 2);
  EXPECT_EQ(cluster.api.address, "127.0.0.2");
  EXPECT_EQ(cluster.api.port, 8123);
  EXPECT_EQ(cluster.api.keys_file, "keys");
  EXPECT_TRUE(cluster.api.accept_any_model_name);
  EXPECT_EQ(cluster.api.max_tokens_cap, 77);
  EXPECT_EQ(cluster.api.reasoning_field, engine::config::ReasoningField::kReasoning);
  EXPECT_EQ(cluster.numerics, engine::config::Numerics::kUnquantised);
  EXPECT_EQ(cluster.experts, engine::config::Experts::kWhole);
  EXPECT_EQ(cluster.limits.context_length, 1000);
  EXPECT_EQ(cluster.limits.sequences, 5);
  EXPECT_EQ(cluster.limits.step_rows, 256);
  EXPECT_EQ(cluster.limits.waiting_requests, 0);
  EXPECT_EQ(cluster.limits.kv_tokens, 4096);
  EXPECT_EQ(cluster.limits.memory_reserve_bytes, 7);
  EXPECT_TRUE(options->has_context_length);
  EXPECT_TRUE(options->has_kv_tokens);
}

TEST(ServeOptionsTest, LeavesLengthsToTheCheckpoint) {
  const Args args = {"--model-path", "m"};
  const auto options = ParseServeOptions(args);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->ranks, 1);
  EXPECT_FALSE(options->has_context_length);
  EXPECT_EQ(options->cluster.model.encoding_profile, engine::config::EncodingProfile::kAuto);
  EXPECT_EQ(options->cluster.api.max_tokens_cap, std::nullopt);
  EXPECT_FALSE(options->has_kv_tokens);
}

TEST(ServeOptionsTest, NamesWhatIsWrong) {
  const std::pair<Args, const char*> cases[] = {
      {{}, "--model-path is missing"},
      {{"--model-path"}, "--model-path needs a value"},
      {{"--model-path", "m", "--port", "0"}, "--port 0: give a whole number from 1 to 65535"},
      {{"--model-path", "m", "--ranks", "two"}, "--ranks two: give a whole number from 1 to 8"},
      {{"--model-path", "m", "--ranks", "9"}, "--ranks 9"},
      {{"--model-path", "m", "--numerics", "fp4"}, "--numerics fp4: give quantised or unquantised"},
      {{"--model-path", "m", "--tp", "2"}, "there is no flag --tp"}};
  for (const auto& [args, message] : cases) {
    const auto options = ParseServeOptions(args);
    ASSERT_FALSE(options.ok()) << message;
    EXPECT_THAT(std::string(options.status().message()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace sparkspan::deploy::cli
