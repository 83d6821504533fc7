#include "engine/text/tokenizer.h"

#include <random>

#include "engine/text/utf8.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/unit/engine/text/text_fixtures.h"

namespace sparkspan::engine::text {
namespace {

using ::testing::HasSubstr;

nlohmann::ordered_json GoldenCases(const std::string& file) {
  return nlohmann::ordered_json::parse(GoldenText(file)).at("cases");
}

std::vector<Token> Encoded(const Tokenizer& tokenizer,
                           std::string_view text,
                           EncodeCost* cost = nullptr) {
  auto tokens = tokenizer.Encode(text, cost);
  EXPECT_TRUE(tokens.ok()) << tokens.status().message();
  return tokens.ok() ? *std::move(tokens) : std::vector<Token>();
}

TEST(TokenizerTest, AgreesWithEveryGoldenCase) {
  int cases = 0;
  for (const auto& item : GoldenCases("tokenizer_cases.json")) {
    const auto text = item.at("text").get<std::string>();
    const auto ids = item.at("ids").get<std::vector<Token>>();
    EXPECT_EQ(Encoded(RealTokenizer(), text), ids) << item.at("id");
    EXPECT_EQ(RealTokenizer().Decode(ids, /*skip_special=*/false), text) << item.at("id");
    EXPECT_EQ(RealTokenizer().Decode(ids, /*skip_special=*/true), item.at("decoded_skip_special"))
        << item.at("id");
    ++cases;
  }
  EXPECT_EQ(cases, 255);
}

TEST(TokenizerTest, DecodesEveryStreamCaseTokenByToken) {
  int cases = 0;
  for (const auto& item : GoldenCases("stream_decode_cases.json")) {
    const auto ids = item.at("ids").get<std::vector<Token>>();
    Utf8Decoder decoder;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      std::string delta;
      decoder.Push(RealTokenizer().TokenBytes(ids[i]), &delta);
      EXPECT_EQ(delta, item.at("deltas").at(i)) << item.at("id") << " token " << i;
    }
    std::string flush;
    decoder.Flush(&flush);
    EXPECT_EQ(flush, item.at("flush")) << item.at("id");
    EXPECT_EQ(RealTokenizer().Decode(ids, /*skip_special=*/false), item.at("text"));
    ++cases;
  }
  EXPECT_EQ(cases, 51);
}

TEST(TokenizerTest, KnowsThePublishedVocabulary) {
  const Tokenizer& real = RealTokenizer();
  EXPECT_EQ(real.vocabulary_size(), 129280);
  const auto list =
      nlohmann::json::parse(std::ifstream("tests/data/tokenizer/special_tokens.json"));
  for (const auto& token : list.at("tokens")) {
    const auto content = token.at("content").get<std::string>();
    EXPECT_EQ(real.AddedToken(content), token.at("id").get<Token>()) << content;
    EXPECT_EQ(real.TokenBytes(token.at("id").get<Token>()), content);
    EXPECT_EQ(real.IsSpecial(token.at("id").get<Token>()), token.at("special").get<bool>());
  }
  EXPECT_EQ(real.AddedToken("<|User|>"), std::nullopt);
  EXPECT_EQ(real.TokenBytes(129280), "");
  EXPECT_EQ(real.TokenBytes(-1), "");
  EXPECT_FALSE(real.Contains(129280));
  std::size_t longest = 0;
  for (Token token = 0; token < real.vocabulary_size(); ++token) {
    EXPECT_FALSE(real.TokenBytes(token).empty()) << token;
    longest = std::max(longest, real.TokenBytes(token).size());
  }
  EXPECT_EQ(real.token_bytes_max(), longest);
}

// Text of every kind of character that the split patterns tell apart.
std::string RandomText(std::mt19937* random, int characters) {
  static const std::vector<std::string> kCharacters = {
      "a",        "Z",          "the",      " ",      "  ", "\n",   "\r",     "\t",
      "1",        "٣",          "½",        "!",      ".",  "<",    "｜",     "$",
      "é",        "e\u0301",    "你",       "ヴ",     "・", "龦",   "😀",      "\u200b",
      "\u00a0",   "\u3000",     "\u0085",   "\u180e", "\0", "\x1f", "\uE000", "<think>",
      "</think>", "<｜User｜>", "｜DSML｜", "<｜",    "𝒜"};
  std::uniform_int_distribution<std::size_t> pick(0, kCharacters.size() - 1);
  std::string text;
  for (int i = 0; i < characters; ++i) {
    text += kCharacters[pick(*random)];
  }
  return text;
}

TEST(TokenizerTest, RoundTripsAnyTextInBothVocabularies) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    const std::string text = RandomText(&random, i % 60);
    for (const Tokenizer* tokenizer : {&RealTokenizer(), &DemoTokenizer()}) {
      EXPECT_EQ(tokenizer->Decode(Encoded(*tokenizer, text), /*skip_special=*/false), text);
    }
  }
}

TEST(TokenizerTest, UsesTheDemoVocabularysOwnIds) {
  const Tokenizer& demo = DemoTokenizer();
  EXPECT_EQ(demo.vocabulary_size(), 1024);
  EXPECT_EQ(demo.AddedToken("<think>"), 1012);
  EXPECT_EQ(Encoded(demo, "<｜begin▁of▁sentence｜><｜User｜><think>｜DSML｜"),
            (std::vector<Token>{0, 1000, 1012, 1014}));
}

TEST(TokenizerTest, RefusesTextThatIsNoUtf8) {
  for (const std::string_view text : {"ab\xff", "ab\xc3", "ab\xed\xa0\x80", "ab\xf4\x90\x80\x80"}) {
    const auto tokens = RealTokenizer().Encode(text);
    EXPECT_EQ(tokens.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(tokens.status().message()), HasSubstr("at byte 2 of"));
  }
}

// The work is counted, not timed: n bytes, n - 1 pairs at first and two for each of n - 1 merges,
// at most 4 n. (In time, a text that is one piece takes log n for each, in the queue.)
TEST(TokenizerTest, TakesWorkInProportionToTheText) {
  std::string prose;
  for (const auto& item : GoldenCases("tokenizer_cases.json")) {
    prose += item.at("text").get<std::string>() + " ";
  }
  for (const std::string& unit : {std::string("a"),
                                  std::string(" "),
                                  std::string("\n"),
                                  std::string("ab"),
                                  std::string("!"),
                                  std::string("你"),
                                  std::string("7"),
                                  std::string("\xcc\x81"),
                                  std::string("<"),
                                  std::string("<｜"),
                                  std::string("x\x01"),
                                  prose}) {
    std::vector<std::int64_t> work;
    for (const std::size_t bytes : {std::size_t{1} << 17, std::size_t{1} << 18}) {
      std::string text;
      while (text.size() < bytes) {
        text += unit;
      }
      EncodeCost cost;
      EXPECT_EQ(RealTokenizer().Decode(Encoded(RealTokenizer(), text, &cost), false), text);
      EXPECT_LE(cost.pieces, static_cast<std::int64_t>(text.size()));
      EXPECT_LE(cost.pairs, 4 * static_cast<std::int64_t>(text.size())) << unit.substr(0, 8);
      work.push_back(cost.pieces + cost.pairs);
    }
    EXPECT_LE(work[1], 2.2 * static_cast<double>(work[0]) + 1000) << unit.substr(0, 8);
  }
}

}  // namespace
}  // namespace sparkspan::engine::text
