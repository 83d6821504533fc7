#include "worker/lease.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"

namespace sparkspan::worker {
namespace {

absl::Status Over(engine::Epoch epoch, engine::Epoch newest) {
  return absl::AbortedError(absl::StrFormat(
      "epoch %d is over: this worker has served epoch %d", epoch.value(), newest.value()));
}

}  // namespace

absl::Status Lease::Take(engine::Epoch epoch, Cancel cancel, engine::Duration hand_over) {
  std::unique_lock lock(mutex_);
  if (epoch < named_ || epoch <= formed_) {
    return Over(epoch, NewestLocked());
  }
  named_ = epoch;
  changed_.notify_all();  // Who waits with an older epoch waits in vain.
  if (holder_) {
    LOG(WARNING) << "epoch " << epoch << " takes the lease of an older one over";
    holder_(absl::CancelledError("a newer epoch has begun"));
  }
  const bool is_decided = changed_.wait_for(
      lock, hand_over, [&] { return !holder_ || closed_ || epoch < named_ || epoch <= formed_; });
  if (epoch < named_ || epoch <= formed_) {
    return Over(epoch, NewestLocked());
  }
  if (!is_decided || closed_) {
    return absl::UnavailableError("the stream of the epoch before has not ended yet");
  }
  holder_ = std::move(cancel);
  return absl::OkStatus();
}

void Lease::Return(engine::Epoch epoch, bool formed) {
  {
    const std::lock_guard lock(mutex_);
    holder_ = nullptr;
    if (formed) {
      formed_ = std::max(formed_, epoch);
    }
  }
  changed_.notify_all();
}

void Lease::Close(const absl::Status& why) {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (holder_) {
      holder_(why);
    }
  }
  changed_.notify_all();
}

std::optional<engine::Epoch> Lease::NewestWhileFree() const {
  const std::lock_guard lock(mutex_);
  return holder_ ? std::nullopt : std::optional(NewestLocked());
}

}  // namespace sparkspan::worker
