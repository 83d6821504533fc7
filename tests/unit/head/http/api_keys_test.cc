#include "head/http/api_keys.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sparkspan::head::http {
namespace {

TEST(ApiKeys, AnyOfSeveralOpens) {
  const ApiKeys keys({"first", "second", std::string(4096, 'k')});
  EXPECT_TRUE(keys.Accept("Bearer first", ""));
  EXPECT_TRUE(keys.Accept("bEaReR   second", ""));
  EXPECT_TRUE(keys.Accept("", "second"));
  EXPECT_TRUE(keys.Accept("", std::string(4096, 'k')));
  EXPECT_TRUE(keys.Accept("Bearer wrong", "first")) << "one right header is enough";
}

TEST(ApiKeys, NothingElseDoes) {
  const ApiKeys keys({"first", "second"});
  for (const char* header : {"",
                             "first",
                             "Bearer",
                             "Bearer ",
                             "Bearer firs",
                             "Bearer firstt",
                             "Bearer FIRST",
                             "Bearer first second",
                             "Basic first",
                             "Basic OmZpcnN0"}) {
    EXPECT_FALSE(keys.Accept(header, "")) << header;
  }
  for (const char* header : {"firs", "second ", "Bearer second", "first,second"}) {
    EXPECT_FALSE(keys.Accept("", header)) << header;
  }
}

TEST(ApiKeys, WithoutKeysEverybodyMayIn) {
  const ApiKeys keys(std::vector<std::string>{});
  EXPECT_TRUE(keys.Accept("", ""));
  EXPECT_TRUE(keys.Accept("Bearer anything", ""));
}

TEST(ApiKeys, AnEmptyKeyIsNone) {
  const ApiKeys keys({""});
  EXPECT_FALSE(keys.Accept("", ""));
  EXPECT_FALSE(keys.Accept("Bearer ", ""));
}

}  // namespace
}  // namespace sparkspan::head::http
