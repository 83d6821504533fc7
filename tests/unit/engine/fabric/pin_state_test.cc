#include "engine/fabric/pin_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sparkspan::engine::fabric {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Kind = LinkEvent::Kind;

const DeclaredPin kPin{"enp1s0f1np1", {0xC0A8B101}};
constexpr int kIndex = 4;
constexpr int kWireless = 7;

class PinStateTest : public ::testing::Test {
 protected:
  PinState Watched() {
    return PinState(kPin, [this](const DeclaredPin&) {
      ++looks_;
      return seen_;
    });
  }
  void See(int index) { seen_ = VerifiedPin{kPin, index, 24}; }
  void SeeFault(const std::string& fault) { seen_ = absl::UnavailableError(fault); }

  absl::StatusOr<VerifiedPin> seen_ = VerifiedPin{kPin, kIndex, 24};
  int looks_ = 0;
};

constexpr char kLinkLost[] = "interface enp1s0f1np1 lost its link; check the cable";

TEST_F(PinStateTest, ALinkThatGoesAndComesIsAFaultInBetween) {
  PinState state = Watched();
  EXPECT_EQ(state.fault(), "");
  EXPECT_THAT(state.Apply({Kind::kLinkUp, kIndex, "enp1s0f1np1", {}}), IsEmpty()) << "it held";
  // Also when it is back before anybody looks.
  EXPECT_THAT(state.Apply({Kind::kLinkDown, kIndex, "enp1s0f1np1", {}}), ElementsAre(kLinkLost));
  EXPECT_TRUE(state.must_look());
  EXPECT_THAT(state.Apply({Kind::kLinkUp, kIndex, "enp1s0f1np1", {}}), ElementsAre(""));
  EXPECT_FALSE(state.must_look());
  const auto gone = state.Apply({Kind::kLinkRemoved, kIndex, "enp1s0f1np1", {}});
  EXPECT_THAT(gone, ElementsAre(HasSubstr("is gone")));
}

TEST_F(PinStateTest, OthersLinksAndAddressesAreNone) {
  PinState state = Watched();
  EXPECT_EQ(looks_, 1);
  EXPECT_THAT(state.Apply({Kind::kLinkDown, 3, "enp1s0f1np", {}}), IsEmpty());
  EXPECT_THAT(state.Apply({Kind::kAddressRemoved, kIndex, "", {0xC0A8B102}}), IsEmpty());
  EXPECT_EQ(looks_, 1);
}

TEST_F(PinStateTest, ALinkThatComesBackWithoutItsAddressIsStillAFault) {
  PinState state = Watched();
  state.Apply({Kind::kLinkDown, kIndex, "enp1s0f1np1", {}});
  SeeFault("does not hold 192.168.177.1");
  EXPECT_THAT(state.Apply({Kind::kLinkUp, kIndex, "enp1s0f1np1", {}}),
              ElementsAre("does not hold 192.168.177.1"));
  See(kIndex);
  EXPECT_THAT(state.Apply({Kind::kAddressAdded, kIndex, "", kPin.address}), ElementsAre(""));
  EXPECT_THAT(state.Apply({Kind::kAddressRemoved, kIndex, "", kPin.address}),
              ElementsAre(HasSubstr("lost its address 192.168.177.1")));
}

TEST_F(PinStateTest, AnAddressThatMovesToAnotherInterfaceIsNotBack) {
  PinState state = Watched();
  state.Apply({Kind::kAddressRemoved, kIndex, "", kPin.address});
  SeeFault("192.168.177.1 is held by interface wlP9s9");
  EXPECT_THAT(state.Apply({Kind::kAddressAdded, kWireless, "", kPin.address}),
              ElementsAre("192.168.177.1 is held by interface wlP9s9"));
}

TEST_F(PinStateTest, ASecondHolderOfTheAddressThatLeavesTakesNothing) {
  PinState state = Watched();
  SeeFault("192.168.177.1 is held by interface wlP9s9");
  EXPECT_THAT(state.Apply({Kind::kAddressAdded, kWireless, "", kPin.address}),
              ElementsAre("192.168.177.1 is held by interface wlP9s9"));
  See(kIndex);
  EXPECT_THAT(state.Apply({Kind::kAddressRemoved, kWireless, "", kPin.address}), ElementsAre(""));
}

// Sockets are bound to one life of an interface.
TEST_F(PinStateTest, AnInterfaceThatWasMadeAnewIsALossThoughItHoldsNow) {
  PinState state = Watched();
  See(kIndex + 1);
  EXPECT_THAT(state.Apply({Kind::kLost, 0, "", {}}), ElementsAre(HasSubstr("was made anew"), ""));
  EXPECT_THAT(state.Apply({Kind::kLost, 0, "", {}}), IsEmpty());
  // Told by the kernel, it is one loss, not two.
  state.Apply({Kind::kLinkRemoved, kIndex + 1, "enp1s0f1np1", {}});
  See(kIndex + 2);
  EXPECT_THAT(state.Apply({Kind::kLinkUp, kIndex + 2, "enp1s0f1np1", {}}), ElementsAre(""));
}

TEST_F(PinStateTest, APinMayBeginWithoutItsLink) {
  SeeFault("interface enp1s0f1np1 is not up");
  PinState state = Watched();
  EXPECT_EQ(state.fault(), "interface enp1s0f1np1 is not up");
  EXPECT_THAT(state.Apply({Kind::kLinkDown, kIndex, "enp1s0f1np1", {}}), IsEmpty())
      << "it lost nothing";
  SeeFault("no link either way");
  EXPECT_THAT(state.LookAgain(), IsEmpty()) << "a fault that stands keeps its words";
  See(kIndex);
  EXPECT_THAT(state.LookAgain(), ElementsAre(""));
}

TEST_F(PinStateTest, AKernelThatDoesNotAnswerIsAskedAgain) {
  PinState state = Watched();
  seen_ = absl::DeadlineExceededError("the kernel does not answer");
  EXPECT_THAT(state.Apply({Kind::kLost, 0, "", {}}), IsEmpty());
  EXPECT_TRUE(state.must_look());
  SeeFault("interface enp1s0f1np1 is not up");
  EXPECT_THAT(state.LookAgain(), ElementsAre("interface enp1s0f1np1 is not up"));
}

TEST(LookAtPin, SeesThisMachine) {
  EXPECT_TRUE(LookAtPin({"lo", {0x7F000001}}).ok());
  EXPECT_THAT(std::string(LookAtPin(kPin).status().message()),
              HasSubstr("named exactly 'enp1s0f1np1'"));
}

}  // namespace
}  // namespace sparkspan::engine::fabric
