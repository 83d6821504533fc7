#include "engine/base/stop_signal.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <algorithm>

#include "engine/base/log.h"

namespace sparkspan::engine {
namespace {

sigset_t Signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

}  // namespace

StopSignal::StopSignal() {
  const sigset_t signals = Signals();
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

void StopSignal::Release() {
  const sigset_t signals = Signals();
  CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &signals, nullptr), 0);
}

}  // namespace sparkspan::engine
