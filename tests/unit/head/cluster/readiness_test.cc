#include "head/cluster/readiness.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sparkspan::head::cluster {
namespace {

using api::EngineState;
using testing::HasSubstr;

api::EngineStatus TwoRanks(EngineState state) {
  api::EngineStatus status;
  status.state = state;
  status.head_node = "spark1";
  status.head_interfaces.resize(1);
  for (const char* node : {"spark1", "spark2"}) {
    api::RankStatus& rank = status.ranks.emplace_back();
    rank.rank = static_cast<std::int32_t>(status.ranks.size()) - 1;
    rank.node = node;
    rank.state = "ready";
    rank.interfaces.resize(2);
  }
  return status;
}

TEST(Readiness, AHealthyClusterStaysReady) {
  api::EngineStatus status = TwoRanks(EngineState::kReady);
  JudgeReadiness(&status);
  EXPECT_EQ(status.state, EngineState::kReady);
  EXPECT_EQ(status.detail, "");
}

TEST(Readiness, AFaultThatStandsIsNotReady) {
  api::EngineStatus status = TwoRanks(EngineState::kReady);
  status.ranks[1].interfaces[1].fault = "interface enp1s0f1np1 lost its link";
  JudgeReadiness(&status);
  EXPECT_EQ(status.state, EngineState::kDegraded);
  EXPECT_EQ(status.detail, "rank 1 (node spark2): interface enp1s0f1np1 lost its link");

  status = TwoRanks(EngineState::kReady);
  status.head_interfaces[0].fault = "interface enp1s0f0np0 is gone";
  JudgeReadiness(&status);
  EXPECT_EQ(status.state, EngineState::kDegraded);
  EXPECT_EQ(status.detail, "head (node spark1): interface enp1s0f0np0 is gone");
}

TEST(Readiness, AShortageOfMemoryIsNotReady) {
  api::EngineStatus status = TwoRanks(EngineState::kReady);
  status.ranks[0].memory_shortage = "only 5 MiB";
  JudgeReadiness(&status);
  EXPECT_EQ(status.state, EngineState::kDegraded);
  EXPECT_EQ(status.detail, "rank 0 (node spark1): only 5 MiB");
}

TEST(Readiness, WhatIsNotReadySaysWhatItWaitsForOnce) {
  api::EngineStatus status = TwoRanks(EngineState::kStarting);
  status.detail = "the ranks are connecting";
  status.ranks[1].state = "connecting";
  status.ranks[1].detail = "interface enp1s0f0np0 is not up";
  status.head_interfaces[0].fault = "interface enp1s0f0np0 is not up";
  JudgeReadiness(&status);
  EXPECT_EQ(status.state, EngineState::kStarting);
  EXPECT_EQ(status.detail,
            "the ranks are connecting; rank 1 (node spark2) is connecting: interface enp1s0f0np0 "
            "is not up");
}

TEST(Readiness, AnEngineThatHasFailedKeepsItsReason) {
  api::EngineStatus status = TwoRanks(EngineState::kFailed);
  status.detail = "rank 1 refuses";
  status.ranks[0].interfaces[0].fault = "gone";
  JudgeReadiness(&status);
  EXPECT_EQ(status.state, EngineState::kFailed);
  EXPECT_EQ(status.detail, "rank 1 refuses");
}

}  // namespace
}  // namespace sparkspan::head::cluster
