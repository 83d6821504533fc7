#pragma once

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>

#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"

namespace sparkspan::worker {

// Which head's stream holds the rank: one at a time, and never one of an older epoch than any that
// was named here. Thread-safe.
class Lease {
 public:
  // Makes the holder give the lease back soon. Must not wait.
  using Cancel = std::function<void(const absl::Status& why)>;

  // Cancels the holder, if there is one, and waits for it to give the lease back. Aborted: a newer
  // epoch has been named, before or meanwhile, or this one has had its group. Unavailable: the
  // holder had not ended after `hand_over`, or the lease is closed.
  absl::Status Take(engine::Epoch epoch, Cancel cancel, engine::Duration hand_over);
  // `formed`: the epoch had a group, and cannot have another.
  void Return(engine::Epoch epoch, bool formed);

  // Cancels the holder; nobody takes the lease any more.
  void Close(const absl::Status& why);

  // The newest epoch that was named; empty while a stream holds the lease. A head whose clock is
  // behind its predecessor's takes a larger one; a head that was away must not take the rank back
  // from its successor.
  std::optional<engine::Epoch> NewestWhileFree() const;

 private:
  engine::Epoch NewestLocked() const { return std::max(named_, formed_); }

  mutable std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  Cancel holder_;        // null: nobody
  engine::Epoch named_;  // the newest by any head
  engine::Epoch formed_;
  bool closed_ = false;
};

}  // namespace sparkspan::worker
