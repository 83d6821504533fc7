#include "engine/weights/generation_defaults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::engine::weights {
namespace {

using ::testing::HasSubstr;

TEST(GenerationDefaults, ComeFromThreeFiles) {
  const ModelShape shape = tests::SmallShape();
  const auto plain = ParseGenerationDefaults(R"({"eos_token_id": 1})", "", "", shape);
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->eos_ids, std::vector<std::int64_t>{1});
  EXPECT_TRUE(plain->sample);
  EXPECT_EQ(plain->temperature, 1.0);
  EXPECT_EQ(plain->context_tokens_max, 8192);
  const auto full = ParseGenerationDefaults(
      R"({"eos_token_id": 1})",
      R"({"eos_token_id": [2, 3], "do_sample": false, "temperature": 0.6, "top_p": 0.95})",
      R"({"model_max_length": 4096})",
      shape);
  ASSERT_TRUE(full.ok());
  EXPECT_EQ(full->eos_ids, (std::vector<std::int64_t>{2, 3}));
  EXPECT_FALSE(full->sample);
  EXPECT_EQ(full->temperature, 0.6);
  EXPECT_EQ(full->top_p, 0.95);
  EXPECT_EQ(full->context_tokens_max, 4096);
  // Tokenizers without a limit say so with a huge number.
  const auto unlimited =
      ParseGenerationDefaults(R"({"eos_token_id": 1})", "", R"({"model_max_length": 1e30})", shape);
  ASSERT_TRUE(unlimited.ok());
  EXPECT_EQ(unlimited->context_tokens_max, 8192);
}

TEST(GenerationDefaults, NameTheFieldThatIsWrong) {
  const std::tuple<const char*, const char*, const char*, const char*> wrongs[] = {
      {"{}", "", "", "config.json: eos_token_id is absent"},
      {R"({"eos_token_id": 67})", "", "", "an integer from 0 to 66"},
      {R"({"eos_token_id": []})", "", "", "at least one token id"},
      {R"({"eos_token_id": 1})",
       R"({"temperature": -1})",
       "",
       "generation_config.json: temperature is -1, expected a number from 0 to 100"},
      {R"({"eos_token_id": 1})", R"({"top_p": 2})", "", "top_p is 2"},
      {R"({"eos_token_id": 1})", "", R"({"model_max_length": 0})", "tokenizer_config.json"}};
  for (const auto& [config, generation, tokenizer, message] : wrongs) {
    EXPECT_THAT(
        std::string(ParseGenerationDefaults(config, generation, tokenizer, tests::SmallShape())
                        .status()
                        .message()),
        HasSubstr(message));
  }
}

TEST(GenerationDefaults, ReadTheDemo) {
  const auto shape = ReadModelShape("deploy/demo/model/config.json");
  ASSERT_TRUE(shape.ok());
  const auto defaults = ReadGenerationDefaults("deploy/demo/model", *shape);
  ASSERT_TRUE(defaults.ok()) << defaults.status().message();
  EXPECT_EQ(defaults->eos_ids, std::vector<std::int64_t>{1});
  EXPECT_EQ(defaults->context_tokens_max, 8192);
}

}  // namespace
}  // namespace sparkspan::engine::weights
