#include "deploy/cli/case_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace sparkspan::deploy::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

absl::StatusOr<std::vector<CaseEntry>> Read(const std::string& text) {
  const std::string file = testing::TempDir() + "/case_file_test.json";
  std::ofstream(file) << text;
  return ReadCaseFile(file);
}

TEST(CaseFile, HoldsTokenListsAndCounts) {
  const auto cases = Read(R"({"cases": [{"name": "a", "tokens": [3, 0, 2147483647], "steps": 2},
                         {"name": "b", "tokens": []}]})");
  ASSERT_TRUE(cases.ok()) << cases.status();
  ASSERT_EQ(cases->size(), 2u);
  EXPECT_EQ((*cases)[0].name, "a");
  EXPECT_THAT(*(*cases)[0].Tokens("tokens"), ElementsAre(3, 0, 2147483647));
  EXPECT_EQ(*(*cases)[0].Count("steps"), 2);
  EXPECT_TRUE((*cases)[1].Tokens("tokens")->empty());
  EXPECT_THAT(std::string((*cases)[1].Count("steps").status().message()),
              HasSubstr("case 1: `steps` must be a whole number of at least 1"));
}

TEST(CaseFile, ValuesOfAnotherKindAreRefusedWhereTheyAreRead) {
  for (const char* value :
       {"[-1]", "[2147483648]", "[1.0]", "[\"1\"]", "0", "18446744073709551615", "1.5", "null"}) {
    const auto cases = Read(std::string(R"({"cases": [{"name": "a", "x": )") + value + "}]}");
    ASSERT_TRUE(cases.ok()) << cases.status();
    EXPECT_FALSE((*cases)[0].Tokens("x").ok()) << value;
    EXPECT_FALSE((*cases)[0].Count("x").ok()) << value;
  }
}

TEST(CaseFile, OtherFilesAreNamed) {
  for (const char* text : {"",
                           "[]",
                           "{}",
                           R"({"cases": 1})",
                           R"({"cases": [{}]})",
                           R"({"cases": [{"name": "a"}, {"name": "a"}]})"}) {
    EXPECT_THAT(std::string(Read(text).status().message()), HasSubstr("case_file_test.json: "))
        << text;
  }
}

}  // namespace
}  // namespace sparkspan::deploy::cli
