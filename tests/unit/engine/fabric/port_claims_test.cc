#include "engine/fabric/port_claims.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>

#include "engine/fabric/pinned_socket.h"
#include "tests/unit/engine/fabric/loopback_namespace.h"

namespace sparkspan::engine::fabric {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

const DeclaredPin kLoopback{"lo", {0x7F000001}};
constexpr std::size_t kAll = PortClaims::kLast - PortClaims::kFirst + 1;

TEST(PortClaims, AreAllDifferentAndCanBeListenedOn) {
  const auto first = PortClaims::Make(kLoopback, 50);
  const auto second = PortClaims::Make(kLoopback, 50);
  ASSERT_TRUE(first.ok() && second.ok()) << first.status() << second.status();
  std::set<std::uint16_t> ports(first->ports().begin(), first->ports().end());
  ports.insert(second->ports().begin(), second->ports().end());
  EXPECT_EQ(ports.size(), 100u);
  EXPECT_GE(*ports.begin(), PortClaims::kFirst);
  EXPECT_LE(*ports.rbegin(), PortClaims::kLast);
  for (const std::uint16_t port : ports) {
    EXPECT_TRUE(ListenPinned(kLoopback, port, LocalPeers::kSome, /*backlog=*/1).ok()) << port;
  }
}

// Where nobody else is, so that all there are can be asked for.
void LeaveOutWhatIsTaken() {
  SetLoopback(/*is_up=*/true);
  std::optional<PortClaims> claimed = *PortClaims::Make(kLoopback, 2);
  const std::uint16_t listened = claimed->ports()[0];
  const std::uint16_t let_go = claimed->ports()[1];
  const auto listener = ListenPinned(kLoopback, listened, LocalPeers::kSome, /*backlog=*/1);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ(PortClaims::Make(kLoopback, kAll - 2)->ports().size(), kAll - 2);
  EXPECT_THAT(PortClaims::Make(kLoopback, kAll - 1).status().message(),
              HasSubstr("found 4094 free ports of interface lo between 28672 and 32767, "
                        "expected 4095"));
  claimed.reset();
  EXPECT_THAT(PortClaims::Make(kLoopback, kAll - 1)->ports(), Not(Contains(listened)));
  const auto others = PortClaims::Make(kLoopback, kAll - 2, /*except=*/let_go);
  EXPECT_THAT(others->ports(), Not(Contains(let_go)));
  EXPECT_THAT(others->ports(), Not(Contains(listened)));
}

TEST(PortClaims, LeaveOutWhatIsClaimedListenedOnOrExcepted) {
  if (!InNetworkNamespace(LeaveOutWhatIsTaken)) {
    GTEST_SKIP() << "no right to make a network namespace";
  }
}

}  // namespace
}  // namespace sparkspan::engine::fabric
