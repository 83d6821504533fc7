#include "engine/weights/model_shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::engine::weights {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

json Config() {
  return json::parse(ConfigJson(tests::SmallDsparkShape()));
}

std::string ErrorOf(const json& config) {
  return std::string(ParseModelShape("config.json", config.dump()).status().message());
}

TEST(ModelShape, ReadsThePublishedFields) {
  json config = json::parse(tests::ReadText("deploy/demo/model/config.json"));
  const auto shape = ParseModelShape("config.json", config.dump());
  ASSERT_TRUE(shape.ok()) << shape.status().message();
  EXPECT_EQ(shape->ratios, (std::vector<int>{0, 4, 128, 4, 0}));
  EXPECT_EQ(shape->stage_ratios, 2);
  EXPECT_EQ(shape->vocabulary, config["vocab_size"]);
  EXPECT_EQ(shape->expert_width, config["moe_intermediate_size"]);
  EXPECT_EQ(shape->hash_layers, config["num_hash_layers"]);
  EXPECT_EQ(shape->positions_max, config["max_position_embeddings"]);
  EXPECT_EQ(shape->ops.groups, config["o_groups"]);
  EXPECT_EQ(shape->ops.yarn_original_positions,
            config["rope_scaling"]["original_max_position_embeddings"]);
  EXPECT_FLOAT_EQ(shape->ops.compress_rope_theta, 160000.0f);
  ASSERT_TRUE(shape->dspark.has_value());
  EXPECT_EQ(shape->dspark->block_size, config["dspark_block_size"]);
  EXPECT_EQ(shape->dspark->noise_token, config["dspark_noise_token_id"]);
  // Unknown fields, as a prune of the experts has them, change nothing.
  config["reap_pruning"] = {{"n_experts", 160}};
  EXPECT_TRUE(ParseModelShape("config.json", config.dump()).ok());
}

TEST(ModelShape, ReadsDsparkFields) {
  const auto shape = ParseModelShape("config.json", Config().dump());
  ASSERT_TRUE(shape.ok()) << shape.status().message();
  ASSERT_TRUE(shape->dspark.has_value());
  EXPECT_EQ(shape->dspark->block_size, 4);
  EXPECT_EQ(shape->dspark->markov_rank, 32);
  EXPECT_EQ(shape->dspark->noise_token, 66);
  EXPECT_EQ(shape->dspark->target_layers, (std::vector<int>{0, 2}));
}

TEST(ModelShape, RefusesOtherModelsByName) {
  const std::tuple<const char*, json, const char*> others[] = {
      {"architectures", json::array({"DeepseekV41ForCausalLM"}), "DeepSeek-V4.1 is not supported"},
      {"architectures", json::array({"DeepseekV4VisionForCausalLM"}), "a vision model"},
      {"architectures", json::array({"LlamaForCausalLM"}), "[\"DeepseekV4ForCausalLM\"]"},
      {"architectures", json(), "architectures is null"},
      {"model_type", "deepseek_v4_1", "DeepSeek-V4.1 is not supported"},
      {"model_type", "llama", "model_type is \"llama\", expected deepseek_v4"},
      {"vision_config", json::object({{"depth", 3}}), "a vision model is not supported"},
      {"expert_dtype", "fp8", "expert_dtype is \"fp8\", expected fp4"}};
  for (const auto& [key, value, message] : others) {
    json config = Config();
    config[key] = value;
    EXPECT_THAT(ErrorOf(config), AllOf(HasSubstr("config.json: "), HasSubstr(message))) << key;
  }
  const std::pair<const char*, const char*> methods[] = {{"gguf", "GGUF"},
                                                         {"exl3", "EXL3"},
                                                         {"nvfp4", "NVFP4"},
                                                         {"modelopt_fp4", "NVFP4"},
                                                         {"awq", "AWQ"},
                                                         {"gptq", "GPTQ"},
                                                         {"int8", "expected fp8"}};
  for (const auto& [method, message] : methods) {
    json config = Config();
    config["quantization_config"]["quant_method"] = method;
    EXPECT_THAT(ErrorOf(config),
                AllOf(HasSubstr("quantization_config.quant_method is"), HasSubstr(message)));
  }
  json config = Config();
  config["quantization_config"]["weight_block_size"] = {32, 32};
  EXPECT_THAT(ErrorOf(config), HasSubstr("weight_block_size is [32,32], expected [128, 128]"));
  config = Config();
  config.erase("quantization_config");
  EXPECT_THAT(ErrorOf(config), HasSubstr("quantization_config is absent, expected an object"));
}

TEST(ModelShape, NamesTheFieldThatIsWrong) {
  const std::tuple<const char*, json, const char*> wrongs[] = {
      {"hidden_size", 200, "hidden_size is 200, expected a multiple of 128"},
      {"hidden_size", "256", "hidden_size is \"256\", expected an integer from 128 to 65536"},
      {"hidden_size", 18446744073709551615u, "expected an integer"},
      {"head_dim", json(), "head_dim is null, expected an integer"},
      {"moe_intermediate_size", 160, "a multiple of 128"},
      {"num_attention_heads", 12, "a multiple of o_groups, which is 8"},
      {"qk_rope_head_dim", 48, "to leave a positive multiple of 64 of head_dim"},
      {"index_head_dim", 96, "a power of two"},
      {"index_head_dim", 32, "not below qk_rope_head_dim, which is 64"},
      {"num_experts_per_tok", 6, "at most n_routed_experts, which is 5"},
      {"compress_ratios", {0, 5, 128, 0, 0}, "0, 4 or 128, but entry 1 is 5"},
      {"compress_ratios", {0, 4}, "an entry for each of the 3 layers, found 2"},
      {"compress_ratios", {0, 4, 128, 4}, "0 for draft stages, but entry 3 after 3 layers is 4"},
      {"num_hash_layers", 4, "num_hash_layers is 4, expected an integer from 0 to 3"},
      {"vocab_size", -1, "vocab_size is -1"},
      {"rope_theta", "much", "rope_theta is \"much\", expected a number"},
      {"scoring_func", "softmax", "expected sqrtsoftplus"},
      {"topk_method", "greedy", "expected noaux_tc"},
      {"hidden_act", "gelu", "expected silu"},
      {"norm_topk_prob", false, "norm_topk_prob is false, expected true"},
      {"tie_word_embeddings", true, "tie_word_embeddings is true, expected false"},
      {"num_key_value_heads", 8, "num_key_value_heads is 8, expected 1"},
      {"rope_scaling", {{"type", "linear"}}, "rope_scaling.type is \"linear\", expected yarn"},
      {"rope_scaling", {{"type", "yarn"}}, "rope_scaling.factor is absent"},
      {"dspark_block_size", 64, "dspark_block_size is 64, expected an integer from 1 to 63"},
      {"dspark_markov_rank", 33, "a multiple of 32"},
      {"dspark_noise_token_id", 67, "an integer from 0 to 66"},
      {"dspark_target_layer_ids", {0, 3}, "integers from 0 to 2"},
      {"dspark_target_layer_ids", {2, 0}, "at least one layer, ascending"},
      {"dspark_target_layer_ids", json::array(), "at least one layer, ascending"}};
  for (const auto& [key, value, message] : wrongs) {
    json config = Config();
    config[key] = value;
    EXPECT_THAT(ErrorOf(config), AllOf(HasSubstr("config.json: "), HasSubstr(message))) << key;
  }
}

TEST(ModelShape, RefusesWhatIsNotOneObject) {
  const std::pair<std::string, const char*> texts[] = {
      {"", "is not a JSON object"},
      {"[1]", "is not a JSON object"},
      {"{\"a\": 1", "is not a JSON object"},
      {"{\"a\": 1, \"a\": 2}", "has the key \"a\" twice"},
      {"{\"a\": {\"b\": 1, \"b\": 2}}", "has the key \"b\" twice"},
      {"{\"a\": [[[[[[[[[[]]]]]]]]]]}", "is nested deeper than 8"},
      {std::string("{}\0}", 4), "has a NUL byte"}};
  for (const auto& [text, message] : texts) {
    EXPECT_THAT(std::string(ParseModelShape("config.json", text).status().message()),
                AllOf(HasSubstr("config.json"), HasSubstr(message)));
  }
  EXPECT_THAT(std::string(ReadModelShape("no/such/config.json").status().message()),
              HasSubstr("no/such/config.json is missing"));
}

}  // namespace
}  // namespace sparkspan::engine::weights
