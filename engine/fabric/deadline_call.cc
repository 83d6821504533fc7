#include "engine/fabric/deadline_call.h"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/thread.h"

namespace sparkspan::engine::fabric {
namespace {

// Woken so much later than asked for, a thread was not running.
constexpr std::chrono::milliseconds kAway{100};

struct Progress {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
};

// Threads whose calls did not return in time. A driver may let go of them later.
class StuckCalls {
 public:
  // Forgets those that have returned.
  std::size_t Count() {
    const std::lock_guard lock(mutex_);
    std::erase_if(calls_, [](const Call& call) {
      const std::lock_guard progress_lock(call.progress->mutex);
      return call.progress->done;
    });
    return calls_.size();
  }

  void Add(std::shared_ptr<Progress> progress, Thread thread) {
    const std::lock_guard lock(mutex_);
    calls_.push_back({std::move(progress), std::move(thread)});
  }

 private:
  struct Call {
    std::shared_ptr<Progress> progress;
    Thread thread;
  };

  std::mutex mutex_;
  std::vector<Call> calls_;
};

// Never destroyed, since that would wait for the calls. Reachable, so that leak checkers see a
// decision.
StuckCalls& TheStuckCalls() {
  static auto* const calls = new StuckCalls;
  return *calls;
}

absl::Status Stuck(std::string_view what) {
  return absl::DeadlineExceededError(
      absl::StrFormat("%s: the kernel does not answer. A driver that hangs can hold up all network "
                      "configuration of a machine, most often Wi-Fi's: switch Wi-Fi off and "
                      "restart the machine",
                      what));
}

}  // namespace

absl::Status RunWithDeadline(std::string_view what, Duration timeout, std::function<void()> call) {
  if (TheStuckCalls().Count() >= kStuckCallsMax) {
    return Stuck(what);
  }
  auto progress = std::make_shared<Progress>();
  Thread thread("kernel call", [progress, call = std::move(call)] {
    call();
    {
      const std::lock_guard lock(progress->mutex);
      progress->done = true;
    }
    progress->changed.notify_all();
  });
  bool done = false;
  {
    const Time deadline = std::chrono::steady_clock::now() + timeout;
    std::unique_lock lock(progress->mutex);
    done = progress->changed.wait_until(lock, deadline, [&] { return progress->done; });
    // Who was away (stopped, or its machine was) has given the call no time either.
    if (!done && std::chrono::steady_clock::now() - deadline > kAway) {
      done = progress->changed.wait_for(lock, timeout, [&] { return progress->done; });
    }
  }
  if (done) {
    return absl::OkStatus();
  }
  TheStuckCalls().Add(std::move(progress), std::move(thread));
  return Stuck(what);
}

}  // namespace sparkspan::engine::fabric
