#include "head/status/status_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <string>

namespace sparkspan::head::status {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(StatusPage, IsWholeAndReadsNothingFromElsewhere) {
  const std::string page(StatusPage());
  EXPECT_THAT(page, testing::StartsWith("<!doctype html>"));
  EXPECT_THAT(page, testing::EndsWith("</html>\n"));
  EXPECT_FALSE(std::regex_search(page, std::regex("https?://|//[a-z]|@import|url\\(")))
      << "something is loaded from elsewhere";
  EXPECT_FALSE(std::regex_search(page, std::regex("<script |<style |<link|<img|<iframe")))
      << "what the policy would not let through";
}

// Names and messages come from other machines: as markup they could be a script.
TEST(StatusPage, ShowsTextAndNeverMarkup) {
  const std::string page(StatusPage());
  for (const char* sink : {"innerHTML",
                           "outerHTML",
                           "insertAdjacentHTML",
                           "document.write",
                           "eval(",
                           "Function(",
                           "DOMParser",
                           "srcdoc",
                           "localStorage",
                           "sessionStorage",
                           "document.cookie",
                           "location"}) {
    EXPECT_THAT(page, Not(HasSubstr(sink)));
  }
  EXPECT_FALSE(std::regex_search(page, std::regex(" on[a-z]+=| style="))) << "inline code";
}

TEST(StatusPage, TheKeyTravelsInAHeaderOnly) {
  const std::string page(StatusPage());
  EXPECT_THAT(page, HasSubstr("headers: key ? {Authorization: 'Bearer ' + key} : {}"));
  EXPECT_THAT(page, HasSubstr("fetch('status.json', {"));
  EXPECT_THAT(page, Not(HasSubstr("name=\"key\""))) << "a form without a script would send it";
}

// The hashes are compared with an independent computation in serve_test.py.
TEST(StatusPage, ThePolicyLetsOnlyThePageItselfThrough) {
  EXPECT_TRUE(std::regex_match(
      StatusPagePolicy(),
      std::regex("default-src 'none'; script-src 'sha256-[A-Za-z0-9+/]{43}='; style-src "
                 "'sha256-[A-Za-z0-9+/]{43}='; connect-src 'self'; base-uri 'none'; form-action "
                 "'none'; frame-ancestors 'none'")))
      << StatusPagePolicy();
}

}  // namespace
}  // namespace sparkspan::head::status
