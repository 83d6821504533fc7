#include "head/cluster/error_log.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace sparkspan::head::cluster {
namespace {

ErrorLog::WallTime At(int seconds) {
  return ErrorLog::WallTime(std::chrono::seconds(seconds));
}

TEST(ErrorLog, KeepsTheNewestAndCountsRepetitions) {
  ErrorLog log;
  log.Add(At(1), "lost");
  log.Add(At(2), "no group");
  log.Add(At(7), "no group");
  ASSERT_EQ(log.errors().size(), 2u);
  EXPECT_EQ(log.errors()[0].what, "no group");
  EXPECT_EQ(log.errors()[0].unix_seconds, 7);
  EXPECT_EQ(log.errors()[0].times, 2);
  EXPECT_EQ(log.errors()[1].times, 1);
  for (int i = 0; i < 100; ++i) {
    log.Add(At(10 + i), std::to_string(i));
  }
  EXPECT_EQ(log.errors().size(), ErrorLog::kErrorsMax);
  EXPECT_EQ(log.errors()[0].what, "99");
  EXPECT_EQ(log.errors().back().what, "68");
}

TEST(ErrorLog, CutsATextWithoutEnd) {
  ErrorLog log;
  log.Add(At(1), std::string(1'000'000, 'x'));
  EXPECT_EQ(log.errors()[0].what.size(), ErrorLog::kBytesMax);
}

}  // namespace
}  // namespace sparkspan::head::cluster
