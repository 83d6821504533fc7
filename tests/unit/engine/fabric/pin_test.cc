#include "engine/fabric/pin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/engine/fabric/fixture_machine.h"

namespace sparkspan::engine::fabric {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class PinTest : public testing::Test {
 protected:
  PinTest() {
    DescribeSpark(machine_);
    interfaces_ = *ListInterfaces(machine_.sysfs(), machine_);
  }

  absl::StatusOr<VerifiedPin> Verify(const std::string& interface, const char* address) {
    return VerifyPin("nodes[0].control", {interface, *ParseIpv4(address)}, interfaces_, machine_);
  }

  std::string Fault(const std::string& interface, const char* address) {
    const absl::StatusOr<VerifiedPin> pin = Verify(interface, address);
    return pin.ok() ? "none" : std::string(pin.status().message());
  }

  FixtureMachine machine_;
  std::vector<Interface> interfaces_;
};

TEST_F(PinTest, ADeclaredPinIsFound) {
  const absl::StatusOr<VerifiedPin> pin = Verify("enp1s0f1np1", "192.168.177.1");
  ASSERT_TRUE(pin.ok()) << pin.status();
  EXPECT_EQ(*pin, (VerifiedPin{{"enp1s0f1np1", {0xC0A8B101}}, 4, 24}));
  EXPECT_TRUE(Verify("lo", "127.0.0.1").ok());
}

TEST_F(PinTest, AnUnknownNameListsWhatThereIs) {
  EXPECT_EQ(Fault("eth9", "192.168.177.1"),
            "nodes[0].control: no interface is named exactly 'eth9'; present: docker0 (down, no "
            "IPv4 address), enP2p1s0f1np1 (up, 200000 Mb/s, no IPv4 address), enp1s0f0np0 (down, "
            "192.168.177.2/24), enp1s0f1np1 (up, 200000 Mb/s, 192.168.177.1/24), lo (up, "
            "127.0.0.1/8). A cable that is unplugged can remove its interface; else give the "
            "kernel's name");
}

TEST_F(PinTest, WhatResemblesANameIsRefusedAndNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"ENP1S0F1NP1", "; 'enp1s0f1np1' differs in case;"},
      {"enp1s0f", "; 'enp1s0f0np0' begins so; 'enp1s0f1np1' begins so;"},
      {"rocep1s0f1", "; 'enp1s0f1np1' has this RDMA device;"},
      {"192.168.177.1", "; 'enp1s0f1np1' holds this address;"},
      {"AA:BB:CC:00:00:02", "; 'enp1s0f0np0' has this MAC;"},
      {"fabric-a", "; it is an alternative name of 'enp1s0f1np1';"},
  };
  for (const auto& [name, meant] : cases) {
    EXPECT_THAT(Fault(name, "192.168.177.1"), AllOf(HasSubstr("named exactly"), HasSubstr(meant)));
  }
}

TEST_F(PinTest, AnInterfaceWithoutALinkIsRefusedWithThoseThatHaveOne) {
  EXPECT_EQ(Fault("enp1s0f0np0", "192.168.177.2"),
            "nodes[0].control: interface enp1s0f0np0 (down, 192.168.177.2/24) is not up; check the "
            "cable, or pin one that has a link: enP2p1s0f1np1 (up, 200000 Mb/s, no IPv4 address), "
            "enp1s0f1np1 (up, 200000 Mb/s, 192.168.177.1/24), lo (up, 127.0.0.1/8)");
}

TEST_F(PinTest, AnAddressThatIsElsewhereOrNowhereIsRefused) {
  EXPECT_THAT(Fault("enP2p1s0f1np1", "192.168.177.1"),
              HasSubstr("192.168.177.1 is held by interface enp1s0f1np1 (up"));
  EXPECT_THAT(Fault("enp1s0f1np1", "192.168.177.9"),
              HasSubstr("does not hold the declared address 192.168.177.9"));
  // On two interfaces: routes decide then, not the pin.
  interfaces_[1].addresses = {{"enP2p1s0f1np1", {0xC0A8B101}, 24}};
  EXPECT_THAT(Fault("enp1s0f1np1", "192.168.177.1"), HasSubstr("held by interface enP2p1s0f1np1"));
}

}  // namespace
}  // namespace sparkspan::engine::fabric
