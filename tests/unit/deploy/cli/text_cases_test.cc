#include "deploy/cli/text_cases.h"

#include <fstream>
#include <iterator>

#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/golden_path.h"

namespace sparkspan::deploy::cli {
namespace {

using Json = nlohmann::ordered_json;

const engine::text::Tokenizer& RealTokenizer() {
  static const auto tokenizer = *engine::text::Tokenizer::Load("tests/data/tokenizer");
  return *tokenizer;
}

// The golden cases of a file, each with what the command prints for it. The command does not see
// the results that the file holds.
std::vector<std::pair<Json, Json>> CasesAndResults(const std::string& name,
                                                   const std::vector<std::string>& results) {
  std::ifstream stream(*tests::GoldenPath(name));
  const Json file = Json::parse(stream);
  Json inputs = file;
  for (Json& item : inputs["cases"]) {
    for (const std::string& key : results) {
      item.erase(key);
    }
  }
  const auto lines = RunTextCases(RealTokenizer(), inputs.dump());
  EXPECT_TRUE(lines.ok()) << lines.status().message();
  std::vector<std::pair<Json, Json>> pairs;
  for (std::size_t i = 0; lines.ok() && i < file.at("cases").size(); ++i) {
    EXPECT_EQ(lines->at(i).find_first_of("\n\r"), std::string::npos);
    pairs.emplace_back(file.at("cases").at(i), Json::parse(lines->at(i)));
    EXPECT_EQ(pairs.back().first.at("id"), pairs.back().second.at("id"));
  }
  return pairs;
}

void ExpectSame(const std::string& name, const std::vector<std::string>& results, int count) {
  int cases = 0;
  for (const auto& [item, result] : CasesAndResults(name, results)) {
    for (const std::string& key : results) {
      EXPECT_EQ(item.at(key), result.at(key)) << item.at("id") << " " << key;
    }
    ++cases;
  }
  EXPECT_EQ(cases, count);
}

TEST(TextCasesTest, GivesTheGoldenTokens) {
  ExpectSame("tokenizer_cases.json", {"ids", "decoded_skip_special"}, 255);
}

TEST(TextCasesTest, GivesTheGoldenDeltas) {
  ExpectSame("stream_decode_cases.json", {"deltas", "flush", "text"}, 51);
}

TEST(TextCasesTest, CountsPromptTokensAsTheOfficialApiDid) {
  ExpectSame("official_api_prompt_tokens.json", {"prompt_tokens"}, 5);
}

TEST(TextCasesTest, GivesTheGoldenPrompts) {
  int prompts = 0;
  int errors = 0;
  for (const auto& [item, result] :
       CasesAndResults("chat_cases.json", {"prompt", "ids", "error"})) {
    EXPECT_EQ(item.contains("error"), result.contains("error")) << item.at("id");
    if (item.contains("error")) {
      ++errors;
      continue;
    }
    EXPECT_EQ(item.at("prompt"), result.at("prompt")) << item.at("id");
    EXPECT_EQ(item.at("ids"), result.at("ids")) << item.at("id");
    ++prompts;
  }
  EXPECT_EQ(prompts, 155);
  EXPECT_EQ(errors, 4);
}

TEST(TextCasesTest, GivesTheGoldenAnswers) {
  int cases = 0;
  for (const auto& [item, result] : CasesAndResults("parse_cases.json", {"expected"})) {
    const Json& expected = item.at("expected");
    const auto text = [](const Json& value) { return value.is_null() ? Json("") : value; };
    EXPECT_EQ(text(expected.at("reasoning")), text(result.at("reasoning"))) << item.at("id");
    EXPECT_EQ(text(expected.at("content")), text(result.at("content"))) << item.at("id");
    const Json& calls = expected.at("tool_calls");
    ASSERT_EQ(calls.size(), result.at("tool_calls").size()) << item.at("id");
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const Json& call = result.at("tool_calls").at(i);
      EXPECT_EQ(calls[i].at("name"), call.at("name"));
      EXPECT_EQ(nlohmann::json::parse(calls[i].at("arguments").get<std::string>()),
                nlohmann::json::parse(call.at("arguments").get<std::string>()));
    }
    const bool called = !calls.empty() && item.at("finish") == "stop";
    const Json finish =
        expected.value("finish_reason", called ? Json("tool_calls") : item.at("finish"));
    EXPECT_EQ(finish, result.at("finish_reason")) << item.at("id");
    ++cases;
  }
  EXPECT_EQ(cases, 37);
}

TEST(TextCasesTest, NamesTheCaseThatItCannotRead) {
  const auto message = [](std::string_view json) {
    return std::string(RunTextCases(RealTokenizer(), json).status().message());
  };
  EXPECT_THAT(message("[]"), testing::HasSubstr("list `cases`"));
  EXPECT_THAT(message(R"({"cases": [{"id": "a"}]})"), testing::HasSubstr("case a: holds none"));
  EXPECT_THAT(message(R"({"cases": [{"id": "b", "ids": [129280]}]})"),
              testing::HasSubstr("case b: ids[0]"));
  EXPECT_THAT(message(R"({"cases": [{"id": "c", "text": 5}]})"),
              testing::HasSubstr("case c: 'text' must be a string"));
}

}  // namespace
}  // namespace sparkspan::deploy::cli
