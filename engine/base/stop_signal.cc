#include "engine/base/stop_signal.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <algorithm>

#include "engine/base/log.h"

namespace sparkspan::engine {

StopSignal::StopSignal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  CHECK_EQ(sigprocmask(SIG_BLOCK, &signals, nullptr), 0);
  descriptor_ = UniqueFd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  CHECK(descriptor_.valid());
}

bool StopSignal::WaitUntil(Time deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  pollfd polled{descriptor_.get(), POLLIN, 0};
  poll(&polled, 1, static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000)));
  signalfd_siginfo info;
  return read(descriptor_.get(), &info, sizeof(info)) == sizeof(info);
}

}  // namespace sparkspan::engine
