#include "head/served_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace sparkspan::head {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ServedModelTest : public ::testing::Test {
 protected:
  ServedModelTest() : checkpoint_(engine::weights::Checkpoint::Open("deploy/demo/model").value()) {
    config_.model.path = "deploy/demo/model";
    config_.model.served_names = {"demo", "alias"};
    config_.limits.context_length = 1024;
  }

  const std::shared_ptr<const engine::weights::Checkpoint> checkpoint_;
  engine::config::ClusterConfig config_;
};

TEST_F(ServedModelTest, JoinsTheConfigurationAndTheCheckpoint) {
  config_.model.default_thinking = "high";
  const auto model = MakeServedModel(config_, *checkpoint_);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(model->names, ElementsAre("demo", "alias"));
  EXPECT_EQ(model->context_length, 1024);
  EXPECT_EQ(model->vocabulary_size, 1024);
  EXPECT_THAT(model->eos_token_ids, ElementsAre(1));
  EXPECT_TRUE(model->default_thinking.on);
  EXPECT_EQ(model->default_thinking.effort, api::ReasoningEffort::kHigh);
}

TEST_F(ServedModelTest, TakesTheOperatorsChoices) {
  using engine::config::ReasoningField;
  config_.api.accept_any_model_name = true;
  config_.api.max_tokens_cap = 77;
  config_.api.response_format_in_prompt = false;
  for (const auto& [field, content, reasoning] :
       {std::tuple(ReasoningField::kBoth, true, true),
        std::tuple(ReasoningField::kReasoningContent, true, false),
        std::tuple(ReasoningField::kReasoning, false, true),
        std::tuple(ReasoningField::kNone, false, false)}) {
    config_.api.reasoning_field = field;
    const auto model = MakeServedModel(config_, *checkpoint_);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->send_reasoning_content, content);
    EXPECT_EQ(model->send_reasoning, reasoning);
    EXPECT_TRUE(model->accept_any_name);
    EXPECT_EQ(model->max_tokens_cap, 77);
    EXPECT_FALSE(model->format_in_prompt);
  }
}

TEST_F(ServedModelTest, NamesTheKeyThatIsWrong) {
  config_.model.default_thinking = "sometimes";
  EXPECT_THAT(std::string(MakeServedModel(config_, *checkpoint_).status().message()),
              HasSubstr("model.default_thinking: sometimes"));
  config_.model.default_thinking = "off";
  config_.limits.context_length = checkpoint_->generation().context_tokens_max + 1;
  EXPECT_THAT(std::string(MakeServedModel(config_, *checkpoint_).status().message()),
              HasSubstr("limits.context_length"));
}

class ApiKeysFileTest : public ::testing::Test {
 protected:
  ApiKeysFileTest()
      : file_((std::filesystem::temp_directory_path() /
               ("sparkspan_keys_" + std::to_string(getpid())))
                  .string()) {}
  ~ApiKeysFileTest() override { std::filesystem::remove(file_); }
  void Write(const std::string& text) const { std::ofstream(file_) << text; }

  const std::string file_;
};

TEST_F(ApiKeysFileTest, OneKeyALine) {
  Write("# of the team\nfirst-key\n\nsecond-key \r\n");
  const auto keys = ReadApiKeys(file_);
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_THAT(*keys, ElementsAre("first-key", "second-key"));
}

TEST_F(ApiKeysFileTest, AFileThatWouldOpenTheApiToAllIsAnError) {
  Write("# none yet\n");
  EXPECT_TRUE(absl::IsInvalidArgument(ReadApiKeys(file_).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadApiKeys(file_ + ".absent").status()));
  EXPECT_TRUE(ReadApiKeys("").value().empty());
}

}  // namespace
}  // namespace sparkspan::head
