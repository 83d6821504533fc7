#include "engine/fabric/neighbours.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sparkspan::engine::fabric {
namespace {

TEST(Neighbours, AreThoseThatHaveAnswered) {
  constexpr char kTable[] =
      "IP address       HW type     Flags       HW address            Mask     Device\n"
      "192.168.177.2    0x1         0x2         3c:6d:66:aa:bb:cc     *        enp1s0f1np1\n"
      "192.168.178.2    0x1         0x0         00:00:00:00:00:00     *        enP2p1s0f1np1\n"
      "192.168.1.7      0x1         0x6         3c:6d:66:aa:bb:cd     *        enP7s7\n"
      "nonsense\n"
      "300.1.1.1        0x1         0x2         3c:6d:66:aa:bb:cd     *        enP7s7\n";
  EXPECT_THAT(ParseNeighbours(kTable),
              testing::ElementsAre(Neighbour{{0xC0A8B102}, "3c:6d:66:aa:bb:cc", "enp1s0f1np1"},
                                   Neighbour{{0xC0A80107}, "3c:6d:66:aa:bb:cd", "enP7s7"}));
  EXPECT_TRUE(ParseNeighbours("").empty());
}

TEST(Neighbours, NobodyAnswersWhereThereIsNoSuchInterface) {
  const auto mac = FindNeighbour({"enp9s9", {0x7F000001}}, {0x7F000002}, Time());
  EXPECT_TRUE(absl::IsUnavailable(mac.status())) << mac.status();
}

}  // namespace
}  // namespace sparkspan::engine::fabric
