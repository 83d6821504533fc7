#include "head/http/patience.h"

#include <gtest/gtest.h>

namespace sparkspan::head::http {
namespace {

using std::chrono::milliseconds;

TEST(Patience, IsUsedUpByWaiting) {
  Patience patience(milliseconds(100));
  patience.Waited(milliseconds(60));
  EXPECT_EQ(patience.left(), milliseconds(40));
  patience.Waited(milliseconds(60));
  EXPECT_EQ(patience.left(), milliseconds(0));
  EXPECT_EQ(Patience().left(), milliseconds(0));
}

TEST(Patience, WithoutARateBytesGiveNothingBack) {
  Patience patience(milliseconds(100));
  for (int i = 0; i < 10; ++i) {
    patience.Waited(milliseconds(10));
    patience.Moved(1);
  }
  EXPECT_EQ(patience.left(), milliseconds(0));
}

TEST(Patience, BytesAtTheRateCostNothingAndEarnNoMoreThanTheWhole) {
  Patience patience(milliseconds(100), 1000);
  patience.Moved(1'000'000);
  EXPECT_EQ(patience.left(), milliseconds(100));
  for (int i = 0; i < 1000; ++i) {
    patience.Waited(milliseconds(50));
    patience.Moved(50);
  }
  EXPECT_EQ(patience.left(), milliseconds(100));
}

TEST(Patience, BytesBelowTheRateEndIt) {
  Patience patience(milliseconds(100), 1000);
  int bytes = 0;
  while (patience.left() >= milliseconds(20)) {
    patience.Waited(milliseconds(20));
    patience.Moved(1);  // It pays for one of them.
    ++bytes;
  }
  EXPECT_EQ(bytes, 5);  // Each takes 19 of the 100 ms.
}

}  // namespace
}  // namespace sparkspan::head::http
