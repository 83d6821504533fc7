#include "head/cluster/worker_examiner.h"

#include <gtest/gtest.h>

#include <string>

namespace sparkspan::head::cluster {
namespace {

v1::ExamineResponse OneFinding() {
  v1::ExamineResponse message;
  v1::Finding& finding = *message.add_findings();
  finding.set_id("interface.link");
  finding.set_outcome(v1::OUTCOME_FAILURE);
  finding.set_subject("enp1s0f1np1 (data)");
  finding.set_found("no link");
  finding.set_expected("a link");
  finding.set_next_step("check the cable");
  return message;
}

TEST(WorkerExaminer, FindingsAreReadAsTheyWereWritten) {
  const auto report = DecodeFindings(OneFinding());
  ASSERT_TRUE(report.ok()) << report.status();
  const engine::doctor::Finding expected{"interface.link",
                                         engine::doctor::Outcome::kFailure,
                                         "enp1s0f1np1 (data)",
                                         "no link",
                                         "a link",
                                         "check the cable"};
  ASSERT_EQ(report->findings().size(), 1u);
  EXPECT_EQ(report->findings()[0], expected);
  EXPECT_EQ(report->ExitCode(), 4);
}

TEST(WorkerExaminer, WhatWouldBreakALogIsCutAndCleaned) {
  v1::ExamineResponse message = OneFinding();
  message.mutable_findings(0)->set_found("two\nlines" + std::string(10'000, 'x'));
  const auto report = DecodeFindings(message);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->findings()[0].found.starts_with("two lines"));
  EXPECT_EQ(report->findings()[0].found.size(), 4096u);
}

TEST(WorkerExaminer, WhatMakesNoSenseIsRefused) {
  v1::ExamineResponse message = OneFinding();
  message.mutable_findings(0)->clear_id();
  EXPECT_TRUE(absl::IsInvalidArgument(DecodeFindings(message).status()));
  message = OneFinding();
  message.mutable_findings(0)->set_outcome(static_cast<v1::Outcome>(9));
  EXPECT_TRUE(absl::IsInvalidArgument(DecodeFindings(message).status()));
  message.Clear();
  for (int i = 0; i < 1025; ++i) {
    *message.add_findings() = OneFinding().findings(0);
  }
  EXPECT_TRUE(absl::IsInvalidArgument(DecodeFindings(message).status()));
}

}  // namespace
}  // namespace sparkspan::head::cluster
