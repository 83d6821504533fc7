#include "engine/base/thread.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <string>

namespace sparkspan::engine {
namespace {

TEST(ThreadTest, CarriesItsNameCutToWhatTheKernelShows) {
  std::string name(16, '\0');
  Thread thread("a-name-that-is-too-long", [&] {
    ASSERT_EQ(pthread_getname_np(pthread_self(), name.data(), name.size()), 0);
  });
  thread.Join();
  EXPECT_STREQ(name.c_str(), "a-name-that-is-");
}

TEST(ThreadTest, AssignmentJoinsTheOldThread) {
  int done = 0;
  Thread thread("first", [&] { done = 1; });
  thread = Thread();
  EXPECT_EQ(done, 1);
}

}  // namespace
}  // namespace sparkspan::engine
