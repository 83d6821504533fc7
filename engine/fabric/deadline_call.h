#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"

// Calls into the kernel that may never return. A driver that hangs while it holds the kernel's RTNL
// lock (known of Wi-Fi resets) makes every netlink request of every process wait inside its system
// call, where no signal and no socket timeout reaches it.
namespace sparkspan::engine::fabric {

inline constexpr Duration kNetlinkTimeout = std::chrono::seconds(2);

// Runs `call` on a thread of its own: OK when it has returned in time. Otherwise DeadlineExceeded,
// and the thread is left to its fate, with what `call` captured; `call` must therefore own all that
// it touches. While kStuckCallsMax of them have not returned further calls fail at once. `what` is
// for the message.
absl::Status RunWithDeadline(std::string_view what, Duration timeout, std::function<void()> call);

inline constexpr std::size_t kStuckCallsMax = 4;

// The same for a call with a result.
template <typename Result>
absl::StatusOr<Result> CallWithDeadline(std::string_view what,
                                        Duration timeout,
                                        std::function<absl::StatusOr<Result>()> call) {
  const auto result = std::make_shared<absl::StatusOr<Result>>(absl::UnknownError("no result"));
  const absl::Status status =
      RunWithDeadline(what, timeout, [result, call = std::move(call)] { *result = call(); });
  return status.ok() ? std::move(*result) : absl::StatusOr<Result>(status);
}

}  // namespace sparkspan::engine::fabric
