#include "engine/fabric/pin_watch.h"

#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

namespace sparkspan::engine::fabric {
namespace {

const DeclaredPin kLoopback{"lo", {0x7F000001}};

// Administratively up or down, in this thread's network namespace.
void SetLoopback(bool is_up) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  ASSERT_EQ(ioctl(socket.get(), SIOCGIFFLAGS, &request), 0);
  const int flags = is_up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP;
  request.ifr_flags = static_cast<short>(flags);
  ASSERT_EQ(ioctl(socket.get(), SIOCSIFFLAGS, &request), 0);
}

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
  EXPECT_EQ(news.Wait(1), "");
}

TEST(PinWatch, SaysWhenALinkGoesAndWhenItIsBack) {
  bool may_unshare = false;
  Thread thread("namespace", [&] {
    may_unshare = unshare(CLONE_NEWNET) == 0;
    if (may_unshare) {
      CutAndJoinLoopback();
    }
  });
  thread.Join();
  if (!may_unshare) {
    GTEST_SKIP() << "no right to make a network namespace";
  }
}

TEST(PinWatch, StopsWithoutNews) {
  EXPECT_TRUE(PinWatch::Start({kLoopback}, [](const DeclaredPin&, const std::string&) {}).ok());
}

}  // namespace
}  // namespace sparkspan::engine::fabric
