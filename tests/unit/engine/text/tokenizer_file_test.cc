#include <functional>

#include "engine/text/byte_alphabet.h"
#include "engine/text/split_pattern.h"
#include "engine/text/tokenizer.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/unit/engine/text/text_fixtures.h"

namespace sparkspan::engine::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

Json DemoFile() {
  std::ifstream stream("deploy/demo/model/tokenizer.json");
  return Json::parse(stream);
}

absl::Status Loaded(const std::function<void(Json*)>& change) {
  Json file = DemoFile();
  change(&file);
  return Tokenizer::Parse(file.dump(), "").status();
}

TEST(TokenizerFileTest, NamesWhatItDoesNotFollow) {
  const std::vector<std::pair<std::string, std::function<void(Json*)>>> cases = {
      {"model.type", [](Json* f) { (*f)["model"]["type"] = "Unigram"; }},
      {"model.byte_fallback", [](Json* f) { (*f)["model"]["byte_fallback"] = true; }},
      {"model.ignore_merges", [](Json* f) { (*f)["model"]["ignore_merges"] = true; }},
      {"model.dropout", [](Json* f) { (*f)["model"]["dropout"] = 0.1; }},
      {"model.unk_token", [](Json* f) { (*f)["model"]["unk_token"] = "<unk>"; }},
      {"surprise", [](Json* f) { (*f)["model"]["surprise"] = 1; }},
      {"novelty", [](Json* f) { (*f)["novelty"] = 1; }},
      {"normalizer",
       [](Json* f) {
         (*f)["normalizer"] = {{"type", "NFC"}};
       }},
      {"post_processor",
       [](Json* f) {
         (*f)["post_processor"] = {{"type", "TemplateProcessing"}};
       }},
      {"decoder", [](Json* f) { (*f)["decoder"] = nullptr; }},
      {"truncation", [](Json* f) { (*f)["truncation"] = Json::object(); }},
      {"added_tokens[3].lstrip", [](Json* f) { (*f)["added_tokens"][3]["lstrip"] = true; }},
      {"pretokenizers[0].behavior",
       [](Json* f) { (*f)["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; }},
      {"pretokenizers[0].invert",
       [](Json* f) { (*f)["pre_tokenizer"]["pretokenizers"][0]["invert"] = true; }},
      {"the escape \\w",
       [](Json* f) { (*f)["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\w+"; }},
      {"use_regex", [](Json* f) { (*f)["pre_tokenizer"]["pretokenizers"][3]["use_regex"] = true; }},
      {"pre_tokenizer", [](Json* f) { (*f)["pre_tokenizer"] = nullptr; }},
  };
  for (const auto& [name, change] : cases) {
    const absl::Status status = Loaded(change);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  }
}

TEST(TokenizerFileTest, RefusesAVocabularyThatContradictsItself) {
  const std::vector<std::pair<std::string, std::function<void(Json*)>>> cases = {
      {"leave out the id 3", [](Json* f) { (*f)["model"]["vocab"]["!"] = 5000; }},
      {"another token has", [](Json* f) { (*f)["model"]["vocab"]["!"] = 4; }},
      {"needs an id", [](Json* f) { (*f)["model"]["vocab"]["!"] = -1; }},
      {"lacks !", [](Json* f) { (*f)["model"]["vocab"].erase("!"); }},
      {"model.merges[0]", [](Json* f) { (*f)["model"]["merges"][0] = "no such"; }},
      {"model.merges[1] must be two", [](Json* f) { (*f)["model"]["merges"][1] = "abc"; }},
      {"neither made of", [](Json* f) { (*f)["model"]["vocab"]["日本"] = 1024; }},
      {"added_tokens[1]", [](Json* f) { (*f)["added_tokens"][1]["content"] = ""; }},
      {"but it has", [](Json* f) { (*f)["added_tokens"][0]["id"] = 77; }},
  };
  for (const auto& [name, change] : cases) {
    const absl::Status status = Loaded(change);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  }
  EXPECT_FALSE(Tokenizer::Parse("{", "").ok());
  EXPECT_EQ(Tokenizer::Load("tests/no/such/folder").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Tokenizer::Parse(DemoFile().dump(), R"({"add_bos_token": true})").status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST(TokenizerFileTest, ReadsMergesInTheNewerForm) {
  Json file = DemoFile();
  for (Json& merge : file["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    const std::size_t space = text.find(' ');
    merge = {text.substr(0, space), text.substr(space + 1)};
  }
  const auto tokenizer = Tokenizer::Parse(file.dump(), "");
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ(*(*tokenizer)->Encode("What is in the garden?"),
            *DemoTokenizer().Encode("What is in the garden?"));
}

TEST(ByteAlphabetTest, MapsEveryByteThereAndBack) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto value = static_cast<unsigned char>(byte);
    EXPECT_EQ(BytesOfSymbols(SymbolOfByte(value)), std::string(1, static_cast<char>(value)));
  }
  EXPECT_EQ(SymbolOfByte(' '), "Ġ");
  EXPECT_EQ(SymbolOfByte('\n'), "Ċ");
  EXPECT_EQ(BytesOfSymbols("你"), std::nullopt);
  EXPECT_EQ(BytesOfSymbols(" "), std::nullopt);
}

std::vector<std::string> Pieces(std::string_view pattern, std::string_view text) {
  const auto split = SplitPattern::Compile(pattern);
  EXPECT_TRUE(split.ok()) << split.status().message();
  std::vector<std::string_view> pieces;
  EXPECT_TRUE((*split)->Split(text, &pieces).ok());
  return {pieces.begin(), pieces.end()};
}

TEST(SplitPatternTest, KeepsWhatIsBetweenMatches) {
  EXPECT_THAT(Pieces(R"(\p{N}{1,3})", "ab12345c½"), ElementsAre("ab", "123", "45", "c", "½"));
  EXPECT_THAT(Pieces(R"(\s+(?!\S)|\s+)", "a  b"), ElementsAre("a", " ", " ", "b"));
}

// U+180E was white space until Unicode 6.3, and still is in PCRE2's own \s. U+0085 is.
TEST(SplitPatternTest, TakesWhiteSpaceAsUnicodeHasIt) {
  EXPECT_THAT(Pieces(R"(\s+)", "a\u0085\u3000b\u180Ec"),
              ElementsAre("a", "\u0085\u3000", "b\u180Ec"));
  EXPECT_THAT(Pieces(R"(\S+)", "a\u180E b"), ElementsAre("a\u180E", " ", "b"));
  EXPECT_THAT(Pieces(R"([x\s]+)", "a\u180Ex\u2028b"), ElementsAre("a\u180E", "x\u2028", "b"));
}

TEST(SplitPatternTest, RefusesWhatTheDialectsReadDifferently) {
  for (const char* pattern : {R"(\w)",
                              R"(\h)",
                              R"([a[b]])",
                              R"([a&&b])",
                              R"((?<x>a))",
                              R"((*FAIL))",
                              R"(^a)",
                              R"(a$)",
                              R"(a{2}+)",
                              R"(\p{Han})",
                              R"([\S])"}) {
    EXPECT_EQ(SplitPattern::Compile(pattern).status().code(), absl::StatusCode::kUnimplemented)
        << pattern;
  }
  for (const char* pattern : {"a*", "(", "\\", ""}) {
    EXPECT_EQ(SplitPattern::Compile(pattern).status().code(), absl::StatusCode::kInvalidArgument)
        << pattern;
  }
}

TEST(SplitPatternTest, GivesUpOnAPatternThatTakesTooLong) {
  const auto split = SplitPattern::Compile("(?:a+)+[bc]");
  ASSERT_TRUE(split.ok());
  std::vector<std::string_view> pieces;
  EXPECT_EQ((*split)->Split(std::string(64, 'a') + "e", &pieces).code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace sparkspan::engine::text
