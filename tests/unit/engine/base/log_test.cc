#include "engine/base/log.h"

#include <gtest/gtest.h>

namespace sparkspan::engine {
namespace {

TEST(LogTest, WritesOneLineWithControlCharactersEscaped) {
  testing::internal::CaptureStderr();
  LOG(INFO) << "two\nlines\x1b[31m";
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_NE(line.find(" I sparkspan"), std::string::npos) << line;
  EXPECT_NE(line.find("| two\\x0alines\\x1b[31m\n"), std::string::npos) << line;
}

TEST(LogTest, DropsWhatIsBelowTheMinimum) {
  SetMinLogSeverity(LogSeverity::kError);
  testing::internal::CaptureStderr();
  LOG(WARNING) << "quiet";
  LOG(ERROR) << "loud";
  const std::string lines = testing::internal::GetCapturedStderr();
  SetMinLogSeverity(LogSeverity::kInfo);
  EXPECT_EQ(lines.find("quiet"), std::string::npos) << lines;
  EXPECT_NE(lines.find("loud"), std::string::npos) << lines;
}

TEST(CheckDeathTest, AbortsWithTheExpressionTheValuesAndTheMessage) {
  const int found = 2;
  EXPECT_DEATH(CHECK_EQ(found, 3) << "rows", "CHECK failed: \\(found\\) == \\(3\\) .2 vs 3. rows");
}

TEST(CheckTest, PassesSilently) {
  testing::internal::CaptureStderr();
  CHECK(1 + 1 == 2) << "never printed";
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace sparkspan::engine
