#include "engine/fabric/pin_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sparkspan::engine::fabric {
namespace {

using testing::HasSubstr;
using Kind = LinkEvent::Kind;

const DeclaredPin kPin{"enp1s0f1np1", {0xC0A8B101}};

TEST(PinState, ALinkThatGoesAndComesIsAFaultInBetween) {
  PinState state(kPin);
  EXPECT_FALSE(state.Apply({Kind::kLinkUp, 4, "enp1s0f1np1", {}})) << "it held before";
  EXPECT_TRUE(state.Apply({Kind::kLinkDown, 4, "enp1s0f1np1", {}}));
  EXPECT_EQ(state.fault(), "interface enp1s0f1np1 lost its link; check the cable");
  EXPECT_FALSE(state.Apply({Kind::kLinkDown, 4, "enp1s0f1np1", {}})) << "said already";
  EXPECT_TRUE(state.Apply({Kind::kLinkUp, 4, "enp1s0f1np1", {}}));
  EXPECT_EQ(state.fault(), "");
  EXPECT_TRUE(state.Apply({Kind::kLinkRemoved, 4, "enp1s0f1np1", {}}));
  EXPECT_THAT(state.fault(), HasSubstr("is gone"));
}

TEST(PinState, OthersLinksAndAddressesAreNone) {
  PinState state(kPin);
  EXPECT_FALSE(state.Apply({Kind::kLinkDown, 3, "enp1s0f1np", {}}));
  EXPECT_FALSE(state.Apply({Kind::kAddressRemoved, 4, "", {0xC0A8B102}}));
  EXPECT_EQ(state.fault(), "");
}

TEST(PinState, ALinkThatComesBackWithoutItsAddressIsStillAFault) {
  PinState state(kPin);
  EXPECT_TRUE(state.Apply({Kind::kLinkDown, 4, "enp1s0f1np1", {}}));
  EXPECT_FALSE(state.Apply({Kind::kAddressRemoved, 4, "", kPin.address}));
  EXPECT_FALSE(state.Apply({Kind::kLinkUp, 4, "enp1s0f1np1", {}}));
  EXPECT_THAT(state.fault(), HasSubstr("lost its address 192.168.177.1"));
  EXPECT_TRUE(state.Apply({Kind::kAddressAdded, 4, "", kPin.address}));
  EXPECT_EQ(state.fault(), "");
}

TEST(PinState, WhatWasSeenCounts) {
  PinState state(kPin);
  EXPECT_FALSE(state.Apply({Kind::kLost, 0, "", {}}));
  state.Set("gone");
  EXPECT_EQ(state.fault(), "gone");
  EXPECT_EQ(FindPinFault({"lo", {0x7F000001}}), "");
  EXPECT_THAT(FindPinFault(kPin), HasSubstr("named exactly 'enp1s0f1np1'"));
}

}  // namespace
}  // namespace sparkspan::engine::fabric
