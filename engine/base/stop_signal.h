#pragma once

#include "engine/base/clock.h"
#include "engine/base/unique_fd.h"

namespace sparkspan::engine {

// SIGINT and SIGTERM as something to wait for. Make it before any thread starts: threads inherit
// that the signals are blocked.
class StopSignal {
 public:
  StopSignal();

  // True once a signal has arrived; waits for one until `deadline`. Each call that returns true
  // takes one signal, so that a second one can mean: now.
  bool WaitUntil(Time deadline);
  // From now on a signal ends the process at once. For when nobody waits for it any more. Call it
  // on the thread that made this.
  void Release();

 private:
  UniqueFd descriptor_;
};

}  // namespace sparkspan::engine
