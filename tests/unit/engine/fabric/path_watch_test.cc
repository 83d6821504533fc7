#include "engine/fabric/path_watch.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "tests/unit/engine/fabric/fixture_machine.h"
#include "tests/unit/engine/fabric/loopback_namespace.h"

namespace sparkspan::engine::fabric {
namespace {

constexpr Ipv4Address kPeer{0xC0A8B102};
const DeclaredPath kPath{{"enp1s0f1np1", {0xC0A8B101}}, {kPeer}};

// A kernel whose only route the test sets.
class OneRoute final : public RouteSource {
 public:
  void Set(absl::StatusOr<Route> route) {
    const std::lock_guard lock(mutex_);
    route_ = std::move(route);
  }
  absl::StatusOr<Route> RouteTo(Ipv4Address) const override {
    const std::lock_guard lock(mutex_);
    return route_;
  }

 private:
  mutable std::mutex mutex_;
  absl::StatusOr<Route> route_ = Route{"enp1s0f1np1", {}};
};

std::string FaultAtStart(const FixtureMachine& machine, absl::StatusOr<Route> route) {
  const auto routes = std::make_shared<OneRoute>();
  routes->Set(std::move(route));
  const auto watch = PathWatch::Start(machine.sysfs(), routes, {kPath});
  EXPECT_TRUE(watch.ok()) << watch.status();
  return watch.ok() ? (*watch)->states().at(0).fault : "";
}

TEST(PathWatch, LooksAtTheRoutesWhenItStarts) {
  FixtureMachine machine;
  DescribeSpark(machine);
  EXPECT_EQ(FaultAtStart(machine, Route{"enp1s0f1np1", {}}), "");
  EXPECT_EQ(FaultAtStart(machine, Route{"lo", {}}), "") << "a peer on this machine";
  EXPECT_EQ(FaultAtStart(machine, absl::DeadlineExceededError("hangs")), "") << "nothing is known";
  EXPECT_NE(FaultAtStart(machine, Route{"wlP9s9", {}}).find("to 192.168.177.2 leaves by wlP9s9"),
            std::string::npos);
  EXPECT_NE(FaultAtStart(machine, absl::NotFoundError("no route to X")).find("no route to X"),
            std::string::npos);
}

// Changes something and makes the kernel say anything at all; returns the fault once it is as
// wanted.
std::string FaultAfter(const PathWatch& watch,
                       bool loopback_up,
                       const std::function<bool(const std::string&)>& is_wanted) {
  SetLoopback(loopback_up);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  std::string fault = watch.states().at(0).fault;
  while (!is_wanted(fault) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    fault = watch.states().at(0).fault;
  }
  return fault;
}

void ChangeMtuAndRoute() {
  const auto is_empty = [](const std::string& fault) { return fault.empty(); };
  const auto is_some = [](const std::string& fault) { return !fault.empty(); };
  FixtureMachine machine;
  DescribeSpark(machine);
  const auto routes = std::make_shared<OneRoute>();
  const auto watch = PathWatch::Start(machine.sysfs(), routes, {kPath});
  ASSERT_TRUE(watch.ok()) << watch.status();
  EXPECT_EQ((*watch)->states().at(0).fault, "");
  machine.Write("class/net/enp1s0f1np1/mtu", "1500");
  EXPECT_EQ(FaultAfter(**watch, true, is_some),
            "interface enp1s0f1np1 has MTU 1500, it had 9000; set it again, as at the other end");
  EXPECT_EQ((*watch)->states().at(0).link.mtu, 1500);
  machine.Write("class/net/enp1s0f1np1/mtu", "9100");
  EXPECT_EQ(FaultAfter(**watch, false, is_empty), "") << "a larger one is no fault";
  routes->Set(Route{"wlP9s9", {}});
  EXPECT_NE(FaultAfter(**watch, true, is_some).find("leaves by wlP9s9"), std::string::npos);
  routes->Set(Route{"enp1s0f1np1", {}});
  EXPECT_EQ(FaultAfter(**watch, false, is_empty), "");
}

TEST(PathWatch, LooksAgainWheneverTheKernelHasNews) {
  if (!InNetworkNamespace(ChangeMtuAndRoute)) {
    GTEST_SKIP() << "no right to make a network namespace";
  }
}

}  // namespace
}  // namespace sparkspan::engine::fabric
