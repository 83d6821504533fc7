#include "engine/fabric/pin_watch.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "tests/unit/engine/fabric/loopback_namespace.h"

namespace sparkspan::engine::fabric {
namespace {

const DeclaredPin kLoopback{"lo", {0x7F000001}};

class News {
 public:
  void Add(const std::string& fault) {
    {
      const std::lock_guard lock(mutex_);
      faults_.push_back(fault);
    }
    changed_.notify_all();
  }
  std::string Wait(std::size_t which) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::minutes(1), [&] { return faults_.size() > which; });
    return faults_.size() > which ? faults_[which] : "no news came";
  }
  // Whether the newest is in the end that nothing is wrong. The kernel may say that a link is up
  // before its address is there, which is another fault, and a true one.
  bool EndWell() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(
        lock, std::chrono::minutes(1), [&] { return !faults_.empty() && faults_.back().empty(); });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> faults_;
};

void CutAndJoinLoopback() {
  SetLoopback(true);
  News news;
  const auto watch =
      PinWatch::Start({kLoopback}, [&](const DeclaredPin& pin, const std::string& fault) {
        EXPECT_EQ(pin, kLoopback);
        news.Add(fault);
      });
  ASSERT_TRUE(watch.ok()) << watch.status();
  SetLoopback(false);
  EXPECT_EQ(news.Wait(0), "interface lo lost its link; check the cable");
  SetLoopback(true);
  EXPECT_TRUE(news.EndWell());
}

TEST(PinWatch, SaysWhenALinkGoesAndWhenItIsBack) {
  if (!InNetworkNamespace(CutAndJoinLoopback)) {
    GTEST_SKIP() << "no right to make a network namespace";
  }
}

void WaitForLoopback() {
  SetLoopback(false);
  News news;
  const auto watch = PinWatch::Start(
      {kLoopback}, [&](const DeclaredPin&, const std::string& fault) { news.Add(fault); });
  ASSERT_TRUE(watch.ok()) << watch.status();
  EXPECT_NE(news.Wait(0).find("interface lo"), std::string::npos) << "known once it has started";
  SetLoopback(true);
  EXPECT_TRUE(news.EndWell());
}

TEST(PinWatch, AnInterfaceMayBeDownAtTheStart) {
  if (!InNetworkNamespace(WaitForLoopback)) {
    GTEST_SKIP() << "no right to make a network namespace";
  }
}

TEST(PinWatch, StopsWithoutNews) {
  EXPECT_TRUE(PinWatch::Start({kLoopback}, [](const DeclaredPin&, const std::string&) {}).ok());
}

}  // namespace
}  // namespace sparkspan::engine::fabric
