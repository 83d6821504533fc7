#pragma once

#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <cstring>
#include <functional>

#include "engine/base/thread.h"
#include "engine/base/unique_fd.h"

namespace sparkspan::engine::fabric {

// Administratively up or down, in this thread's network namespace.
inline void SetLoopback(bool is_up) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  ASSERT_EQ(ioctl(socket.get(), SIOCGIFFLAGS, &request), 0);
  const int flags = is_up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP;
  request.ifr_flags = static_cast<short>(flags);
  ASSERT_EQ(ioctl(socket.get(), SIOCSIFFLAGS, &request), 0);
}

// Runs `body` on a thread in a network namespace of its own, which has a loopback and nothing else,
// with the sysfs that belongs to it. False when this process has no right to make one.
inline bool InNetworkNamespace(const std::function<void()>& body) {
  bool may_unshare = false;
  Thread thread("namespace", [&] {
    may_unshare = unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 &&
                  mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                  mount("none", "/sys", "sysfs", 0, nullptr) == 0;
    if (may_unshare) {
      body();
    }
  });
  thread.Join();
  return may_unshare;
}

}  // namespace sparkspan::engine::fabric
