#include "head/api/model_codec.h"

#include <set>

#include "gmock/gmock.h"
#include "head/api/answer.h"

namespace sparkspan::head::api {
namespace {

using engine::text::EncodedEffort;
using engine::text::EncodingProfile;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using Kind = OutputPiece::Kind;

const ModelCodec& Codec(const std::string& folder) {
  static std::map<std::string, std::unique_ptr<ModelCodec>> codecs;
  if (!codecs.contains(folder)) {
    auto codec = ModelCodec::Open(folder, std::nullopt);
    EXPECT_TRUE(codec.ok()) << codec.status().message();
    codecs[folder] = *std::move(codec);
  }
  return *codecs[folder];
}

const std::vector<std::string> kFolders = {"tests/data/tokenizer", "deploy/demo/model"};

ChatRequest Request(std::string_view body) {
  ServedModel model;
  model.names = {"m"};
  model.context_length = 4096;
  model.vocabulary_size = 1024;
  auto request = ParseChatRequest(body, model);
  EXPECT_TRUE(request.ok()) << request.error().message;
  return *request;
}

std::string Prompt(std::string_view body) {
  const auto prompt = Codec(kFolders[0]).RenderChat(Request(body));
  EXPECT_TRUE(prompt.ok()) << prompt.status().message();
  return prompt.value_or("");
}

TEST(ModelCodecTest, RendersRequests) {
  EXPECT_EQ(Prompt(R"({"messages": [{"role": "developer", "content": "s"},
                                    {"role": "user", "content": "q"}]})"),
            "<｜begin▁of▁sentence｜>s<｜User｜>q<｜Assistant｜><think>");
  EXPECT_EQ(Prompt(R"({"messages": [{"role": "user", "content": "q"}], "thinking": {"type":
                       "disabled"}})"),
            "<｜begin▁of▁sentence｜><｜User｜>q<｜Assistant｜></think>");
  EXPECT_THAT(Prompt(R"({"messages": [{"role": "user", "content": "q"}], "reasoning_effort":
                         "max"})"),
              HasSubstr("Reasoning Effort: Beyond maximum"));
  const std::string tools = Prompt(R"({"messages": [{"role": "user", "content": "q"}],
      "tools": [{"type": "function", "function": {"name": "f", "x": 1e-7, "a": "é"}}]})");
  EXPECT_THAT(tools, HasSubstr("\n{\"name\": \"f\", \"x\": 1e-07, \"a\": \"é\"}\n"));
}

TEST(ModelCodecTest, EndsThePromptWhereTheAnswerBegins) {
  const std::string history =
      R"("messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])";
  EXPECT_THAT(Prompt("{" + history + "}"),
              EndsWith("a<｜end▁of▁sentence｜><｜Assistant｜><think>"));
  EXPECT_THAT(Prompt("{" + history + R"(, "continue_final_message": true})"),
              EndsWith("<｜Assistant｜><think></think>a"));
  EXPECT_THAT(Prompt("{" + history + R"(, "add_generation_prompt": false})"),
              EndsWith("a<｜end▁of▁sentence｜>"));
  EXPECT_THAT(Prompt(R"({"messages": [{"role": "user", "content": "q"}],
                         "add_generation_prompt": false})"),
              EndsWith("<｜User｜>q"));
}

TEST(ModelCodecTest, MapsEffortsToThoseTheProfileKnows) {
  const auto effort = [](std::optional<ReasoningEffort> asked, EncodingProfile profile) {
    return EncodedEffortOf({.on = true, .effort = asked}, profile);
  };
  const auto preview = EncodingProfile::kPreview;
  const auto release = EncodingProfile::k0731;
  EXPECT_EQ(effort(std::nullopt, release), EncodedEffort::kNone);
  EXPECT_EQ(effort(ReasoningEffort::kMedium, release), EncodedEffort::kLow);
  EXPECT_EQ(effort(ReasoningEffort::kXhigh, release), EncodedEffort::kHigh);
  EXPECT_EQ(effort(ReasoningEffort::kMax, release), EncodedEffort::kMax);
  EXPECT_EQ(effort(ReasoningEffort::kLow, preview), EncodedEffort::kNone);
  EXPECT_EQ(effort(ReasoningEffort::kHigh, preview), EncodedEffort::kHigh);
  EXPECT_EQ(effort(ReasoningEffort::kXhigh, preview), EncodedEffort::kMax);
  EXPECT_EQ(EncodedEffortOf({.on = false, .effort = ReasoningEffort::kMax}, release),
            EncodedEffort::kNone);
}

std::vector<engine::Token> Tokens(const ModelCodec& codec, std::string_view text) {
  return codec.Encode(text).value();
}

// Runs an answer's text through a reader and the bookkeeping of answers.
std::unique_ptr<Answer> Answered(const ModelCodec& codec,
                                 const ChatRequest& request,
                                 std::string_view output,
                                 FinishReason reason = FinishReason::kStop) {
  const std::vector<engine::Token> prompt = Tokens(codec, codec.RenderChat(request).value());
  auto answer = std::make_unique<Answer>(codec.NewChatReader(prompt, request), AnswerOptions{});
  GenerationEvent event;
  for (const engine::Token token : Tokens(codec, output)) {
    event.tokens.push_back({.token = token, .logprob = std::nullopt, .top = {}});
  }
  event.finish = GenerationFinish{.reason = reason, .token = {}, .error = {}};
  answer->Absorb(event);
  return answer;
}

constexpr std::string_view kWithTool = R"({"messages": [{"role": "user", "content": "q"}],
    "tools": [{"type": "function", "function": {"name": "f"}}]})";
constexpr std::string_view kCall =
    "r</think>c\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter "
    "name=\"a\" "
    "string=\"false\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
    "<｜end▁of▁sentence｜>";

TEST(ModelCodecTest, ReadsAnswersInBothVocabularies) {
  std::set<std::string> ids;
  for (const std::string& folder : kFolders) {
    const auto answer = Answered(Codec(folder), Request(kWithTool), kCall);
    EXPECT_EQ(answer->reasoning(), "r");
    EXPECT_EQ(answer->content(), "c");
    EXPECT_EQ(answer->finish_reason(), "tool_calls");
    EXPECT_EQ(answer->usage().reasoning_tokens, 2);
    ASSERT_EQ(answer->calls().size(), 1u);
    EXPECT_EQ(answer->calls()[0].name, "f");
    EXPECT_EQ(answer->calls()[0].arguments, "{\"a\": 1}");
    EXPECT_TRUE(answer->calls()[0].complete);
    EXPECT_THAT(answer->calls()[0].id, testing::MatchesRegex("call_[0-9a-f]{24}"));
    ids.insert(answer->calls()[0].id);
  }
  EXPECT_EQ(ids.size(), kFolders.size());
}

// The tokens that are given must be those that the whole text has: a model never saw others.
TEST(ModelCodecTest, BeginsTheCallThatMustBeMade) {
  const std::string call = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_time2\">\n";
  const std::string rest =
      "<｜DSML｜parameter name=\"a\" string=\"false\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
      "</｜DSML｜tool_calls><｜end▁of▁sentence｜>";
  const std::string head = R"({"messages": [{"role": "user", "content": "q"}], "tools": [)"
                           R"({"function": {"name": "f"}}, {"function": {"name": "get_time2"}}],)";
  for (const std::string& folder : kFolders) {
    const ModelCodec& codec = Codec(folder);
    for (const char* choice : {R"("required")",
                               R"({"type":"function","function":{"name":)"
                               R"("get_time2"}})"}) {
      for (const bool thinks : {true, false}) {
        const ChatRequest request = Request(head + R"("tool_choice": )" + choice +
                                            (thinks ? "}" : R"(, "reasoning_effort": "none"})"));
        const auto prompt = Tokens(codec, codec.RenderChat(request).value());
        const auto forced = codec.BeginCall(prompt, request);
        ASSERT_TRUE(forced.ok()) << forced.status().message();
        EXPECT_EQ(forced->after.has_value(), thinks);
        const std::vector<engine::Token> whole = Tokens(codec, call + rest);
        ASSERT_LT(forced->tokens.size(), whole.size());
        EXPECT_TRUE(std::equal(forced->tokens.begin(), forced->tokens.end(), whole.begin()));
        EXPECT_EQ(codec.Decode(forced->tokens),
                  choice[0] == '{' ? call : call.substr(0, call.find(" name")));
        const auto answer = Answered(codec, request, (thinks ? "r</think>" : "") + call + rest);
        ASSERT_EQ(answer->calls().size(), 1u);
        EXPECT_EQ(answer->content(), "");
      }
    }
  }
  // The only tool is named in full.
  const ChatRequest only = Request(R"({"messages": [{"role": "user", "content": "q"}], "tools":
      [{"function": {"name": "f"}}], "tool_choice": "required"})");
  const auto prompt = Tokens(Codec(kFolders[0]), Codec(kFolders[0]).RenderChat(only).value());
  EXPECT_THAT(Codec(kFolders[0]).Decode(Codec(kFolders[0]).BeginCall(prompt, only)->tokens),
              EndsWith("name=\"f\">\n"));
}

TEST(ModelCodecTest, AsksForTheFormatInTheSystemMessage) {
  const std::string format = R"("response_format": {"type": "json_schema", "json_schema":
      {"name": "n", "schema": {"type": "object", "x": 1e-7}}}})";
  const std::string text =
      "\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n"
      "{\"type\": \"object\", \"x\": 1e-07}<｜User｜>q";
  EXPECT_THAT(Prompt(R"({"messages": [{"role": "user", "content": "q"}], )" + format),
              HasSubstr("<｜begin▁of▁sentence｜>" + text));
  EXPECT_THAT(Prompt(R"({"messages": [{"role": "system", "content": "s"},
                                      {"role": "user", "content": "q"}], )" +
                     format),
              HasSubstr("<｜begin▁of▁sentence｜>s" + text));
  EXPECT_THAT(Prompt(R"({"messages": [{"role": "user", "content": "q"}],
                         "response_format": {"type": "json_object"}})"),
              HasSubstr("reply:\n{\"type\": \"json_object\"}<｜User｜>q"));
}

TEST(ModelCodecTest, FillsInBetweenTwoTexts) {
  EXPECT_EQ(Codec(kFolders[0]).RenderInfill("a", "b").value(),
            "<｜fim▁begin｜>a<｜fim▁hole｜>b<｜fim▁end｜>");
}

// Also where the text ends before the model does.
TEST(ModelCodecTest, CountsTheMarkupItDrops) {
  EXPECT_GT(Answered(Codec(kFolders[0]),
                     Request(kWithTool),
                     "r</think>c\n\n<｜DSML｜tool_calls>\nstray text</｜DSML｜tool_calls>")
                ->dropped_markup_bytes(),
            0);
  EXPECT_EQ(Answered(Codec(kFolders[0]), Request(kWithTool), kCall)->dropped_markup_bytes(), 0);
}

TEST(ModelCodecTest, LeavesOutCallsOfToolsThatWereNotOffered) {
  const auto answer = Answered(
      Codec(kFolders[0]), Request(R"({"messages": [{"role": "user", "content": "q"}]})"), kCall);
  EXPECT_EQ(answer->content(), "c");
  EXPECT_TRUE(answer->calls().empty());
  EXPECT_EQ(answer->finish_reason(), "stop");
}

TEST(ModelCodecTest, TakesReasoningThatNeverEndedForTheAnswer) {
  const ChatRequest request = Request(R"({"messages": [{"role": "user", "content": "q"}]})");
  const auto ended = Answered(Codec(kFolders[1]), request, "Hello!<｜end▁of▁sentence｜>");
  EXPECT_EQ(ended->content(), "Hello!");
  EXPECT_EQ(ended->reasoning(), "");
  const auto cut = Answered(Codec(kFolders[1]), request, "Hello!", FinishReason::kLength);
  EXPECT_EQ(cut->content(), "");
  EXPECT_EQ(cut->reasoning(), "Hello!");
  // A model that says the same in both has still reasoned.
  const auto both = Answered(Codec(kFolders[1]), request, "Yes.</think>Yes.<｜end▁of▁sentence｜>");
  EXPECT_EQ(both->reasoning(), "Yes.");
  EXPECT_EQ(both->content(), "Yes.");
}

TEST(ModelCodecTest, StartsInTheStateThatThePromptLeft) {
  const ChatRequest chat =
      Request(R"({"messages": [{"role": "user", "content": "q"}], "reasoning_effort": "none"})");
  EXPECT_EQ(Answered(Codec(kFolders[0]), chat, "a")->content(), "a");
  const ChatRequest continued = Request(R"({"messages": [{"role": "user", "content": "q"},
      {"role": "assistant", "content": "b", "prefix": true}]})");
  EXPECT_EQ(Answered(Codec(kFolders[0]), continued, "a")->content(), "a");
}

TEST(ModelCodecTest, ReadsPlainTextWithoutRules) {
  for (const std::string& folder : kFolders) {
    for (const bool skip : {true, false}) {
      const auto reader = Codec(folder).NewPlainReader(skip);
      std::string text;
      const auto add = [&](const std::vector<OutputPiece>& pieces) {
        for (const OutputPiece& piece : pieces) {
          EXPECT_EQ(piece.kind, Kind::kContent);
          text += piece.text;
        }
      };
      for (const engine::Token token :
           Tokens(Codec(folder),
                  "é</think><｜▁pad▁｜>\n\n<｜DSML｜tool_calls><｜end▁of▁sentence｜>")) {
        add(reader->Push(token));
      }
      add(reader->Finish(/*cut=*/false));
      EXPECT_EQ(text,
                skip ? "é</think>\n\n<｜DSML｜tool_calls>"
                     : "é</think><｜▁pad▁｜>\n\n<｜DSML｜tool_calls>");
    }
  }
}

TEST(ModelCodecTest, RefusesWhatIsNoCheckpoint) {
  EXPECT_EQ(ModelCodec::Open("tests/no/such/folder", std::nullopt).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(ModelCodec::Open(kFolders[1], EncodingProfile::kPreview).value()->profile(),
            EncodingProfile::kPreview);
  EXPECT_FALSE(Codec(kFolders[0]).Encode("\xff").ok());
}

}  // namespace
}  // namespace sparkspan::head::api
