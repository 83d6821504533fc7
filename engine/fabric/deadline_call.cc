#include "engine/fabric/deadline_call.h"

#include <condition_variable>
#include <mutex>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/thread.h"

namespace sparkspan::engine::fabric {
namespace {

struct Progress {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
};

std::mutex stuck_mutex;
int stuck_calls = 0;

absl::Status Stuck(std::string_view what) {
  return absl::DeadlineExceededError(
      absl::StrFormat("%s: the kernel does not answer. A driver that hangs can hold up all network "
                      "configuration of a machine, most often Wi-Fi's: switch Wi-Fi off and "
                      "restart the machine",
                      what));
}

}  // namespace

absl::Status RunWithDeadline(std::string_view what, Duration timeout, std::function<void()> call) {
  {
    const std::lock_guard lock(stuck_mutex);
    if (stuck_calls >= kStuckCallsMax) {
      return Stuck(what);
    }
  }
  const auto progress = std::make_shared<Progress>();
  auto thread = std::make_unique<Thread>("kernel call", [progress, call = std::move(call)] {
    call();
    {
      const std::lock_guard lock(progress->mutex);
      progress->done = true;
    }
    progress->changed.notify_all();
  });
  bool done = false;
  {
    std::unique_lock lock(progress->mutex);
    done = progress->changed.wait_for(lock, timeout, [&] { return progress->done; });
  }
  if (done) {
    return absl::OkStatus();
  }
  const std::lock_guard lock(stuck_mutex);
  ++stuck_calls;
  // Never destroyed, since that would wait for it. Reachable, so that leak checkers see a decision.
  static auto* const abandoned = new std::vector<std::unique_ptr<Thread>>;
  abandoned->push_back(std::move(thread));
  return Stuck(what);
}

}  // namespace sparkspan::engine::fabric
