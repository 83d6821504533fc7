#include "head/failure_examiner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>

namespace sparkspan::head {
namespace {

using testing::HasSubstr;

constexpr std::chrono::milliseconds kAgain{1};

api::FailureStatus WaitFor(const FailureExaminer& examiner, std::uint64_t epoch) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  api::FailureStatus failure;
  failure.epoch = epoch;
  do {
    examiner.Describe(&failure);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  } while (failure.examination.find("being looked at") != std::string::npos &&
           std::chrono::steady_clock::now() < deadline);
  return failure;
}

TEST(FailureExaminer, ReportsFailuresFirstAndNothingThatPassed) {
  FailureExaminer examiner({{"spark1",
                             []() -> absl::StatusOr<engine::doctor::Report> {
                               engine::doctor::Report report;
                               report.Pass("route.peer", "a", "fine");
                               report.Warn("pcie.errors", "b", "9000 errors", "few", "reseat it");
                               report.Fail(
                                   "interface.link", "c", "no link", "a link", "check the cable");
                               return report;
                             }}},
                           kAgain);
  examiner.Begin(7);
  const api::FailureStatus failure = WaitFor(examiner, 7);
  EXPECT_THAT(failure.examination, HasSubstr("node spark1 was looked at"));
  EXPECT_THAT(failure.examination, HasSubstr("1 failures, 1 warnings"));
  ASSERT_EQ(failure.findings.size(), 2u);
  EXPECT_EQ(failure.findings[0].id, "interface.link");
  EXPECT_EQ(failure.findings[0].outcome, "failure");
  EXPECT_EQ(failure.findings[0].subject, "node spark1: c");
  EXPECT_EQ(failure.findings[0].next_step, "check the cable");
  EXPECT_EQ(failure.findings[1].outcome, "warning");
}

// The caller goes on meanwhile, and later losses are looked at once, not each.
TEST(FailureExaminer, NeverKeepsTheCallerWaiting) {
  std::promise<void> go;
  std::shared_future<void> gone = go.get_future().share();
  std::atomic<int> examinations{0};
  FailureExaminer examiner({{"spark1",
                             [&]() -> absl::StatusOr<engine::doctor::Report> {
                               gone.wait();
                               ++examinations;
                               return absl::InternalError("no interfaces");
                             }}},
                           kAgain);
  examiner.Begin(1);
  api::FailureStatus failure;
  failure.epoch = 1;
  examiner.Describe(&failure);
  EXPECT_EQ(failure.examination, "node spark1 is being looked at");
  for (std::uint64_t epoch = 2; epoch <= 50; ++epoch) {
    examiner.Begin(epoch);
  }
  go.set_value();
  EXPECT_EQ(WaitFor(examiner, 50).examination, "node spark1 could not be looked at: no interfaces");
  EXPECT_LE(examinations, 2);
}

// The node whose link was lost is asked until it is back; what the others said stays.
TEST(FailureExaminer, ANodeThatIsAwayIsAskedWhenItIsBack) {
  std::atomic<bool> is_back{false};
  std::atomic<int> attempts{0};
  std::atomic<int> looks_at_own{0};
  FailureExaminer examiner({{"spark1",
                             [&]() -> absl::StatusOr<engine::doctor::Report> {
                               ++looks_at_own;
                               return engine::doctor::Report();
                             }},
                            {"spark2",
                             [&]() -> absl::StatusOr<engine::doctor::Report> {
                               ++attempts;
                               if (!is_back) {
                                 return absl::UnavailableError("no route to host");
                               }
                               engine::doctor::Report report;
                               report.Fail("rdma.port", "x", "DOWN", "ACTIVE", "bring it up");
                               return report;
                             }}},
                           kAgain);
  examiner.Begin(3);
  while (attempts < 3) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  api::FailureStatus failure = WaitFor(examiner, 3);
  EXPECT_THAT(failure.examination, HasSubstr("node spark1 was looked at"));
  EXPECT_THAT(failure.examination,
              HasSubstr("node spark2 could not be looked at: no route to host"));
  is_back = true;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (failure.findings.empty() && std::chrono::steady_clock::now() < deadline) {
    examiner.Describe(&failure);
  }
  ASSERT_EQ(failure.findings.size(), 1u);
  EXPECT_EQ(failure.findings[0].subject, "node spark2: x");
  EXPECT_EQ(looks_at_own, 1);
}

}  // namespace
}  // namespace sparkspan::head
