#include "head/api/json.h"

#include <cmath>

#include "gtest/gtest.h"

namespace sparkspan::head::api {
namespace {

JsonValue Parse(std::string_view text) {
  std::string error;
  std::optional<JsonValue> value = ParseJson(text, JsonLimits{}, &error);
  EXPECT_TRUE(value.has_value()) << text << ": " << error;
  return value.value_or(JsonValue());
}

TEST(JsonTest, KeepsOrderDigitsAndTheLastOfEqualKeys) {
  EXPECT_EQ(Parse(R"({"z":1,"a":2,"z":{"k":[1.50,-0.0,12345678901234567890123]}})").ToText(),
            R"({"z": {"k": [1.50, -0.0, 12345678901234567890123]}, "a": 2})");
  EXPECT_EQ(Parse(R"("\u0007\u2028é\"\\\n/")").ToText(), "\"\\u0007\u2028é\\\"\\\\\\n/\"");
}

TEST(JsonTest, TellsIntegersFromOtherNumbers) {
  EXPECT_EQ(Parse("5.0").AsInteger(), 5);
  EXPECT_EQ(Parse("5e2").AsInteger(), 500);
  EXPECT_EQ(Parse("-9223372036854775808").AsInteger(), INT64_MIN);
  EXPECT_EQ(Parse("9223372036854775808").AsInteger(), std::nullopt);
  EXPECT_EQ(Parse("1e300").AsInteger(), std::nullopt);
  EXPECT_EQ(Parse("5.5").AsInteger(), std::nullopt);
  EXPECT_EQ(Parse("\"5\"").AsInteger(), std::nullopt);
  EXPECT_EQ(Parse("true").AsDouble(), std::nullopt);
}

TEST(JsonTest, HoldsItsLimits) {
  std::string error;
  const JsonLimits limits{.depth_max = 3, .values_max = 5};
  EXPECT_TRUE(ParseJson("[[[1]]]", limits, &error).has_value());
  EXPECT_FALSE(ParseJson("[[[[1]]]]", limits, &error).has_value());
  EXPECT_NE(error.find("nested deeper than 3"), std::string::npos) << error;
  EXPECT_FALSE(ParseJson("[1,2,3,4,5]", limits, &error).has_value());
  EXPECT_NE(error.find("more than 5"), std::string::npos) << error;
}

TEST(JsonTest, WritesOnlyValidText) {
  JsonWriter json;
  json.BeginObject().Key("a").BeginArray().Integer(1).Double(2).Double(-INFINITY).EndArray();
  json.Key("b").String("\xff\xe2\x82x\xed\xa0\x80").Key("c").BeginObject().EndObject().EndObject();
  EXPECT_EQ(json.text(),
            "{\"a\":[1,2.0,-9999.0],\"b\":\"\uFFFD\uFFFDx\uFFFD\uFFFD\uFFFD\",\"c\":{}}");
}

}  // namespace
}  // namespace sparkspan::head::api
