#include "engine/doctor/finding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace sparkspan::engine::doctor {
namespace {

TEST(Report, JsonHasIdsOutcomesAndTheExitCode) {
  Report report;
  report.Pass("a.b", "subject", "fine");
  report.Warn("c.d", "", "found", "expected", "next");
  report.Skip("e.f", "why");
  const nlohmann::json root = nlohmann::json::parse(ToJson(report, "spark1"));
  EXPECT_EQ(root["version"], 1);
  EXPECT_EQ(root["node"], "spark1");
  EXPECT_EQ(root["exit_code"], 3);
  EXPECT_EQ(root["findings"][1]["id"], "c.d");
  EXPECT_EQ(root["findings"][1]["outcome"], "warning");
  EXPECT_EQ(root["findings"][1]["next_step"], "next");
  EXPECT_EQ(root["findings"][2]["found"], "why");
  const std::string text = ToText(report, "spark1", /*verbose=*/false);
  EXPECT_THAT(text, testing::HasSubstr("warning  c.d: found; expected expected\n"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("a.b")));
}

}  // namespace
}  // namespace sparkspan::engine::doctor
