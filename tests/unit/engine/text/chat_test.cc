#include "engine/text/chat.h"

#include <filesystem>

#include "engine/text/output_parser.h"
#include "gmock/gmock.h"
#include "tests/unit/engine/text/text_fixtures.h"

// That every golden chat renders to its prompt is tested in tests/unit/deploy/cli, through the
// program's own reader of cases.
namespace sparkspan::engine::text {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using Role = ChatMessage::Role;

ChatMessage Message(Role role, std::string content) {
  ChatMessage message;
  message.role = role;
  message.content = std::move(content);
  return message;
}

std::string Rendered(std::vector<ChatMessage> messages, const ChatFormat& format = {}) {
  auto prompt = RenderChat(std::move(messages), {}, format);
  EXPECT_TRUE(prompt.ok()) << prompt.status().message();
  return prompt.value_or("");
}

TEST(ChatTest, DropsOldReasoningUnlessThereAreTools) {
  std::vector<ChatMessage> messages = {
      Message(Role::kUser, "a"), Message(Role::kAssistant, "b"), Message(Role::kUser, "c")};
  messages[1].reasoning = "why";
  EXPECT_EQ(Rendered(messages),
            "<｜begin▁of▁sentence｜><｜User｜>a<｜Assistant｜></think>b<｜end▁of▁sentence｜>"
            "<｜User｜>c<｜Assistant｜><think>");
  AttachTools({R"({"name": "f"})"}, &messages);
  EXPECT_THAT(Rendered(messages), HasSubstr("<｜Assistant｜><think>why</think>b"));
  ChatFormat chat;
  chat.thinking = false;
  EXPECT_THAT(Rendered(messages, chat), Not(HasSubstr("why")));
}

TEST(ChatTest, EndsAsTheFormatAsks) {
  std::vector<ChatMessage> messages = {Message(Role::kUser, "a")};
  ChatFormat format;
  EXPECT_THAT(Rendered(messages, format), EndsWith("a<｜Assistant｜><think>"));
  format.add_header = false;
  EXPECT_THAT(Rendered(messages, format), EndsWith("a"));
  messages.push_back(Message(Role::kAssistant, "b"));
  messages[1].is_open = true;
  EXPECT_THAT(Rendered(messages), EndsWith("<｜Assistant｜><think></think>b"));
}

TEST(ChatTest, RendersNothingOfAContextEvenWhereTurnsVanish) {
  std::vector<ChatMessage> context = {
      Message(Role::kSystem, "s"), Message(Role::kDeveloper, "d"), Message(Role::kAssistant, "x")};
  std::vector<ChatMessage> added = {
      Message(Role::kDeveloper, "e"), Message(Role::kAssistant, "y"), Message(Role::kUser, "u")};
  const auto prompt = RenderChat(added, context, {});
  ASSERT_TRUE(prompt.ok());
  EXPECT_EQ(*prompt, "y<｜end▁of▁sentence｜><｜User｜>u<｜Assistant｜><think>");
}

TEST(ChatTest, RefusesWhatTheEncodingHasNoFormFor) {
  EXPECT_FALSE(RenderChat({}, {}, {}).ok());
  EXPECT_FALSE(RenderChat({Message(Role::kDeveloper, "")}, {}, {}).ok());
  ChatMessage task = Message(Role::kUser, "x");
  task.task = "nope";
  EXPECT_THAT(std::string(RenderChat({task}, {}, {}).status().message()), HasSubstr("'nope'"));
  ChatFormat preview;
  preview.profile = EncodingProfile::kPreview;
  preview.effort = EncodedEffort::kLow;
  EXPECT_FALSE(RenderChat({Message(Role::kUser, "x")}, {}, preview).ok());
}

// What the encoding writes for a call, the reader of answers reads back.
TEST(ChatTest, CallsSurviveRenderingAndReading) {
  const std::vector<std::string> arguments = {
      "{}",
      R"({"a": "x\n\"y\" \\ <b> 2>&1", "é k": [1, {"z": null}], "big": 123456789012345678901})",
      R"({"s": "", "t": "<", "u": "</｜DSML｜paramete", "v": "\u0001\t", "w": " padded "})"};
  ChatMessage call = Message(Role::kAssistant, "text\n");
  for (const std::string& text : arguments) {
    call.calls.push_back({"", "tool.x/y", text});
  }
  ChatFormat format;
  format.thinking = false;
  const std::string prompt = Rendered({Message(Role::kUser, "q"), call}, format);
  const std::string header = "<｜Assistant｜></think>";
  const auto tokens = RealTokenizer().Encode(prompt.substr(prompt.find(header) + header.size()));
  ASSERT_TRUE(tokens.ok());
  OutputParser parser(RealTokenizer(),
                      *ControlTokens::Of(RealTokenizer()),
                      {.in_reasoning = false, .tools = OfferedTools::Any()});
  std::string content;
  std::vector<std::string> read(arguments.size());
  const auto add = [&](const std::vector<AnswerPiece>& pieces) {
    for (const AnswerPiece& piece : pieces) {
      content += piece.kind == AnswerPiece::Kind::kContent ? piece.text : "";
      if (piece.kind == AnswerPiece::Kind::kCallArguments) {
        read.at(static_cast<std::size_t>(piece.call)) += piece.text;
      }
    }
  };
  for (const Token token : *tokens) {
    add(parser.Push(token));
  }
  add(parser.Finish(/*cut=*/false));
  EXPECT_EQ(content, "text\n");
  EXPECT_EQ(read, arguments);
}

TEST(ChatTest, DetectsTheProfileOfTheCheckpoint) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "sparkspan_profile";
  const auto detect = [&](const char* source) {
    std::filesystem::create_directories(folder / "encoding");
    std::ofstream(folder / "encoding/encoding_dsv4.py") << source;
    return DetectProfile(folder.string());
  };
  EXPECT_EQ(*DetectProfile("deploy/demo/model"), EncodingProfile::k0731);
  EXPECT_EQ(*detect("EFFORTS = {\"low\": \"\", \"high\": H, \"max\": M}"), EncodingProfile::k0731);
  EXPECT_EQ(*detect("MAX = 'Reasoning Effort: Absolute maximum with no shortcuts'"),
            EncodingProfile::kPreview);
  EXPECT_FALSE(detect("nothing that is known").ok());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace sparkspan::engine::text
