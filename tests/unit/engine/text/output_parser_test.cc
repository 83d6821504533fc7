#include "engine/text/output_parser.h"

#include <random>

#include "engine/text/json.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/unit/engine/text/text_fixtures.h"

namespace sparkspan::engine::text {
namespace {

using Json = nlohmann::ordered_json;
using Kind = AnswerPiece::Kind;

nlohmann::ordered_json GoldenCases(const std::string& file) {
  return nlohmann::ordered_json::parse(GoldenText(file)).at("cases");
}

struct Call {
  std::string name;
  std::string arguments;
  bool operator==(const Call&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Call& call) {
  return out << call.name << " " << call.arguments;
}

// What a reader of the pieces has in the end.
struct Answer {
  std::string reasoning;
  std::string content;
  std::vector<Call> calls;  // Complete ones.
  std::int64_t reasoning_tokens = 0;
};

void Add(const std::vector<AnswerPiece>& pieces, Answer* answer, std::vector<Call>* open) {
  for (const AnswerPiece& piece : pieces) {
    switch (piece.kind) {
      case Kind::kReasoning:
        answer->reasoning += piece.text;
        break;
      case Kind::kContent:
        answer->content += piece.text;
        break;
      case Kind::kReasoningAsContent:
        EXPECT_EQ(piece.text, answer->reasoning);
        answer->reasoning.clear();
        answer->content += piece.text;
        break;
      case Kind::kCallBegin:
        EXPECT_EQ(static_cast<std::size_t>(piece.call), open->size());
        open->push_back({piece.text, ""});
        break;
      case Kind::kCallArguments:
        open->at(static_cast<std::size_t>(piece.call)).arguments += piece.text;
        break;
      case Kind::kCallEnd:
        answer->calls.push_back(open->at(static_cast<std::size_t>(piece.call)));
        break;
    }
  }
}

const ControlTokens& Control() {
  static const ControlTokens control = *ControlTokens::Of(RealTokenizer());
  return control;
}

Answer Read(const std::vector<Token>& tokens, OutputOptions options, bool cut) {
  OutputParser parser(RealTokenizer(), Control(), std::move(options));
  Answer answer;
  std::vector<Call> open;
  for (const Token token : tokens) {
    Add(parser.Push(token), &answer, &open);
  }
  Add(parser.Finish(cut), &answer, &open);
  answer.reasoning_tokens = parser.reasoning_tokens();
  return answer;
}

// Another spelling of the same text: ordinary tokens broken into tokens of single bytes.
std::vector<Token> ByteTokens(std::string_view text) {
  static const std::vector<Token> token_of = [] {
    std::vector<Token> result(256, -1);
    for (Token token = 0; token < RealTokenizer().vocabulary_size(); ++token) {
      const std::string_view bytes = RealTokenizer().TokenBytes(token);
      if (bytes.size() == 1) {
        result[static_cast<unsigned char>(bytes[0])] = token;
      }
    }
    return result;
  }();
  std::vector<Token> tokens;
  for (const char c : text) {
    tokens.push_back(token_of[static_cast<unsigned char>(c)]);
  }
  return tokens;
}

bool IsAdded(Token token) {
  return RealTokenizer().AddedToken(RealTokenizer().TokenBytes(token)) == token;
}

std::vector<Token> Respelled(const std::vector<Token>& tokens, double share, std::mt19937* random) {
  std::bernoulli_distribution breaks(share);
  std::vector<Token> result;
  for (const Token token : tokens) {
    if (IsAdded(token) || !breaks(*random)) {
      result.push_back(token);
      continue;
    }
    const std::vector<Token> bytes = ByteTokens(RealTokenizer().TokenBytes(token));
    result.insert(result.end(), bytes.begin(), bytes.end());
  }
  return result;
}

std::vector<Token> Tokens(std::string_view text) {
  auto tokens = RealTokenizer().Encode(text);
  CHECK(tokens.ok());
  return *std::move(tokens);
}

OfferedTools ToolsOf(const Json& item) {
  if (!item.contains("tools")) {
    return OfferedTools::Any();
  }
  std::vector<std::string> functions;
  for (const Json& tool : item.at("tools")) {
    functions.push_back(tool.at("function").dump());
  }
  return OfferedTools::Of(functions);
}

std::string TextOrEmpty(const Json& value) {
  return value.is_null() ? "" : value.get<std::string>();
}

void ExpectEqual(const Answer& answer, const Json& expected, const std::string& id) {
  EXPECT_EQ(answer.reasoning, TextOrEmpty(expected.at("reasoning"))) << id;
  EXPECT_EQ(answer.content, TextOrEmpty(expected.at("content"))) << id;
  ASSERT_EQ(answer.calls.size(), expected.at("tool_calls").size()) << id;
  for (std::size_t i = 0; i < answer.calls.size(); ++i) {
    const Json& call = expected.at("tool_calls").at(i);
    EXPECT_EQ(answer.calls[i].name, call.at("name")) << id;
    EXPECT_EQ(nlohmann::json::parse(answer.calls[i].arguments),
              nlohmann::json::parse(call.at("arguments").get<std::string>()))
        << id << ": " << answer.calls[i].arguments;
  }
}

TEST(OutputParserTest, AgreesWithEveryGoldenCaseHoweverItIsCut) {
  std::mt19937 random(7);
  int cases = 0;
  for (const Json& item : GoldenCases("parse_cases.json")) {
    const auto id = item.at("id").get<std::string>();
    const std::vector<Token> tokens = Tokens(item.at("output").get<std::string>());
    const bool in_reasoning = item.at("thinking_mode") == "thinking";
    for (int round = 0; round < 12; ++round) {
      const double share = round == 0 ? 0.0 : round == 1 ? 1.0 : 0.5;
      const Answer answer = Read(Respelled(tokens, share, &random),
                                 {.in_reasoning = in_reasoning, .tools = ToolsOf(item)},
                                 item.at("finish") == "length");
      ExpectEqual(answer, item.at("expected"), id);
    }
    ++cases;
  }
  EXPECT_EQ(cases, 37);
}

std::string Block(std::string_view inside) {
  return "\n\n<｜DSML｜tool_calls>\n" + std::string(inside) + "\n</｜DSML｜tool_calls>";
}

std::string Invoke(std::string_view name, std::string_view inside) {
  return "<｜DSML｜invoke name=\"" + std::string(name) + "\">\n" + std::string(inside) +
         "\n</｜DSML｜invoke>";
}

std::string Parameter(std::string_view name, std::string_view string, std::string_view value) {
  return "<｜DSML｜parameter name=\"" + std::string(name) + "\"" +
         (string.empty() ? "" : " string=\"" + std::string(string) + "\"") + ">" +
         std::string(value) + "</｜DSML｜parameter>";
}

struct Rule {
  std::string name;
  std::string output;
  Answer expected;
  bool in_reasoning = false;
  bool cut = false;
  std::vector<std::string> functions = {};  // Empty: any.
  bool none_offered = false;
};

std::vector<Rule> RulesOfPartsAndSchemas() {
  const std::string schema =
      R"({"name":"f","parameters":{"properties":{"a":{"type":"string"},"b":{"type":"integer"}}}})";
  const std::string good = Block(Invoke("f", Parameter("a", "true", "x")));
  const Call called{"f", R"({"a": "x"})"};
  return {
      {"think tokens in a value are its text",
       Block(Invoke("f", Parameter("a", "true", "<think>x</think>"))),
       {"", "", {{"f", R"({"a": "<think>x</think>"})"}}}},
      {"think tokens between tags are dropped",
       Block(Invoke("f", "</think>" + Parameter("a", "true", "x") + "<think>")),
       {"", "", {called}}},
      {"a block closes reasoning", "r" + good + "</think>c", {"r", "c", {called}}, true},
      {"cut in reasoning", "abc", {"abc", "", {}}, true, true},
      {"ended in reasoning after it had been closed", "r</think><think>s", {"rs", "", {}}, true},
      {"at most two newlines separate", "t\n\n" + good, {"", "t\n\n", {called}}},
      {"white space between blocks and at the end",
       "t" + good + " \n" + good + "\n \n",
       {"", "t", {called, called}}},
      {"white space before text after a block", "t" + good + "\n  u", {"", "t\n  u", {called}}},
      {"schema types decide without the attribute",
       Block(Invoke("f", Parameter("a", "", "5") + Parameter("b", "", "5"))),
       {"", "", {{"f", R"({"a": "5", "b": 5})"}}},
       false,
       false,
       {schema}},
      {"wrapped arguments",
       Block(Invoke("f", Parameter("arguments", "true", " {\"b\": 1.50, \"a\":\"y\"} "))),
       {"", "", {{"f", R"({"b": 1.50, "a":"y"})"}}},
       false,
       false,
       {schema}},
      {"wrapped arguments of other keys stay",
       Block(Invoke("f", Parameter("input", "false", "{\"z\": 1}"))),
       {"", "", {{"f", R"({"input": {"z": 1}})"}}},
       false,
       false,
       {schema}},
      {"a wrapper with company stays",
       Block(Invoke("f", Parameter("input", "true", "{\"b\": 1}") + Parameter("b", "false", "2"))),
       {"", "", {{"f", R"({"input": "{\"b\": 1}", "b": 2})"}}},
       false,
       false,
       {schema}},
  };
}

std::vector<Rule> RulesOfBrokenMarkup() {
  const std::string good = Block(Invoke("f", Parameter("a", "true", "x")));
  const Call called{"f", R"({"a": "x"})"};
  return {
      {"a call that ends with the answer",
       "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n" + Parameter("a", "true", "x") +
           "\n</｜DSML｜inv",
       {"", "", {called}}},
      {"the same, cut",
       "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n" + Parameter("a", "true", "x"),
       {"", "", {}},
       false,
       true},
      {"an open parameter",
       "\n\n<｜DSML｜tool_calls>" + Invoke("f", Parameter("a", "true", "x")) +
           "<｜DSML｜invoke name=\"g\"><｜DSML｜parameter name=\"a\" string=\"true\">x",
       {"", "", {called}}},
      {"a call that begins inside a call",
       Block("<｜DSML｜invoke name=\"g\">" + Invoke("f", Parameter("a", "true", "x"))),
       {"", "", {{"g", "{}"}, called}}},
      {"the older name of a block",
       "c\n\n<｜DSML｜function_calls>" + Invoke("f", Parameter("a", "true", "x")) +
           "</｜DSML｜function_calls>",
       {"", "c", {called}}},
      {"attributes in the other order",
       Block(
           Invoke("f", "<｜DSML｜parameter string=\"true\"\n name=\"a\" >x</｜DSML｜parameter >")),
       {"", "", {called}}},
      {"names with quotes, brackets and other letters",
       Block(Invoke("f", Parameter("a\"b<c>é", "true", "x"))),
       {"", "", {{"f", R"({"a\"b<c>é": "x"})"}}}},
      {"a tag that broke off does not hide the next",
       Block(Invoke("f", "<｜DSML｜parameter name=\"q" + Parameter("a", "true", "x"))),
       {"", "", {called}}},
      {"ASCII bars are text", "<|DSML|tool_calls>", {"", "<|DSML|tool_calls>", {}}},
      {"an empty block", "c" + Block(""), {"", "c", {}}},
      {"tools were not offered", "c" + good, {"", "c", {}}, false, false, {}, true},
      {"a value that is not cut by its own end",
       Block(Invoke("f", Parameter("a", "true", "x</｜DSML｜tool_calls>y"))),
       {"", "y\n\n", {called}}},
      {"a beginning without the whole marker is text", "a <｜DS", {"", "a <｜DS", {}}},
      {"one with the marker is dropped", "a\n\n<｜DSML｜tool_ca", {"", "a\n\n", {}}},
      {"large numbers keep their digits",
       Block(Invoke("f", Parameter("b", "false", " 123456789012345678901234567890.10 "))),
       {"", "", {{"f", R"({"b": 123456789012345678901234567890.10})"}}}},
      {"deep nesting is no JSON",
       Block(Invoke("f", Parameter("b", "false", std::string(500, '[') + std::string(500, ']')))),
       {"", "", {{"f", R"({"b": ")" + std::string(500, '[') + std::string(500, ']') + "\"}"}}}},
  };
}

TEST(OutputParserTest, FollowsTheRulesForMalformedOutput) {
  std::mt19937 random(11);
  std::vector<Rule> rules = RulesOfPartsAndSchemas();
  const std::vector<Rule> broken = RulesOfBrokenMarkup();
  rules.insert(rules.end(), broken.begin(), broken.end());
  for (const Rule& rule : rules) {
    const std::vector<Token> tokens = Tokens(rule.output);
    for (const double share : {0.0, 0.5, 0.5, 1.0}) {
      const OfferedTools tools = rule.none_offered || !rule.functions.empty()
                                     ? OfferedTools::Of(rule.functions)
                                     : OfferedTools::Any();
      const Answer answer = Read(Respelled(tokens, share, &random),
                                 {.in_reasoning = rule.in_reasoning, .tools = tools},
                                 rule.cut);
      EXPECT_EQ(answer.reasoning, rule.expected.reasoning) << rule.name;
      EXPECT_EQ(answer.content, rule.expected.content) << rule.name;
      EXPECT_EQ(answer.calls, rule.expected.calls) << rule.name;
    }
  }
}

// Every way to cut a text that holds everything into two pushes of text, and into single bytes.
TEST(OutputParserTest, GivesTheSameForEverySplitOfTheText) {
  const std::string text = "a <b\n\n\n<｜DSML｜tool_calls>\n <｜DSML｜invoke  name=\"f\" >" +
                           Parameter("a", "true", "é<</｜DSML｜para 2>&1\n") +
                           Parameter("b", "false", "[1, \"x\"]") +
                           "</｜DSML｜invoke></｜DSML｜tool_calls>\n\n<｜DSML｜nothing> <";
  const auto read = [](const std::vector<std::string_view>& parts) {
    MarkupParser parser(/*in_reasoning=*/false, OfferedTools::Any());
    Utf8Decoder decoder;
    std::vector<AnswerPiece> joined;
    const auto take = [&] {
      for (AnswerPiece& piece : parser.Take()) {
        if (!joined.empty() && joined.back().kind == piece.kind &&
            joined.back().call == piece.call && piece.kind != Kind::kCallBegin) {
          joined.back().text += piece.text;
        } else {
          joined.push_back(std::move(piece));
        }
      }
    };
    for (const std::string_view part : parts) {
      std::string characters;
      decoder.Push(part, &characters);
      parser.PushText(characters);
      take();
    }
    parser.Finish(/*cut=*/false);
    take();
    return joined;
  };
  const std::vector<AnswerPiece> whole = read({text});
  EXPECT_EQ(whole.front(), (AnswerPiece{Kind::kContent, "a <b\n", 0}));
  EXPECT_EQ(whole.back().text, "\n\n<｜DSML｜nothing> <");
  std::vector<std::string_view> bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view view = text;
    EXPECT_EQ(read({view.substr(0, i), view.substr(i)}), whole) << i;
    bytes.push_back(view.substr(i, 1));
  }
  EXPECT_EQ(read(bytes), whole);
}

TEST(OutputParserTest, HoldsALoneBracketForOneTokenOnly) {
  OutputParser parser(RealTokenizer(), Control(), {.in_reasoning = false, .tools = {}});
  const std::vector<Token> tokens = ByteTokens("a<b\n\nc");
  std::vector<std::string> shown;
  for (const Token token : tokens) {
    std::string text;
    for (const AnswerPiece& piece : parser.Push(token)) {
      text += piece.text;
    }
    shown.push_back(text);
  }
  EXPECT_EQ(shown, (std::vector<std::string>{"a", "", "<b", "", "", "\n\nc"}));
}

TEST(OutputParserTest, CountsReasoningWithItsEndAndWithoutTheAnswersEnd) {
  EXPECT_EQ(Read(Tokens("one two</think>three"), {.in_reasoning = true, .tools = {}}, false)
                .reasoning_tokens,
            static_cast<std::int64_t>(Tokens("one two").size()) + 1);
  std::vector<Token> ended = Tokens("one");
  ended.push_back(Control().eos);
  EXPECT_EQ(Read(ended, {.in_reasoning = true, .tools = {}}, false).reasoning_tokens,
            static_cast<std::int64_t>(ended.size()) - 1);
  EXPECT_EQ(Read(ended, {.in_reasoning = false, .tools = {}}, false).reasoning_tokens, 0);
}

TEST(OutputParserTest, ReadsTheStateFromThePrompt) {
  const auto in_reasoning = [](std::string_view prompt) {
    return EndsInReasoning(Tokens(prompt), Control());
  };
  EXPECT_TRUE(in_reasoning("<｜User｜>q<｜Assistant｜><think>"));
  EXPECT_FALSE(in_reasoning("<｜User｜>q<｜Assistant｜></think>"));
  EXPECT_FALSE(in_reasoning("<｜User｜>q<｜Assistant｜><think>r</think>c"));
  EXPECT_FALSE(in_reasoning("<｜Assistant｜><think>r<｜User｜>q<｜Assistant｜>"));
  EXPECT_FALSE(in_reasoning("<｜User｜><think>"));
  EXPECT_FALSE(in_reasoning(""));
}

}  // namespace
}  // namespace sparkspan::engine::text
