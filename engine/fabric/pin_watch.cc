#include "engine/fabric/pin_watch.h"

#include <poll.h>

#include <chrono>
#include <utility>

#include "engine/base/status.h"

namespace sparkspan::engine::fabric {
namespace {

constexpr int kPollTimeoutMs = std::chrono::milliseconds(PinNews::kLookInterval).count();

}  // namespace

absl::StatusOr<std::unique_ptr<PinWatch>> PinWatch::Start(std::vector<DeclaredPin> pins,
                                                          OnChange on_change) {
  ASSIGN_OR_RETURN(StopEvent stop, StopEvent::Create());
  ASSIGN_OR_RETURN(PinNews news, PinNews::Open(std::move(pins)));
  return std::unique_ptr<PinWatch>(
      new PinWatch(std::move(news), std::move(on_change), std::move(stop)));
}

PinWatch::PinWatch(PinNews news, OnChange on_change, StopEvent stop)
    : news_(std::move(news)), on_change_(std::move(on_change)), stop_(std::move(stop)) {
  for (const PinState& state : news_.states()) {
    if (!state.fault().empty()) {
      on_change_(state.pin(), state.fault());
    }
  }
  thread_ = Thread("pin watch", [this] { Run(); });
}

PinWatch::~PinWatch() {
  stop_.Set();
  thread_.Join();
}

void PinWatch::Run() {
  while (true) {
    pollfd polled[] = {{stop_.fd(), POLLIN, 0}, {news_.fd(), POLLIN, 0}};
    poll(polled, 2, kPollTimeoutMs);
    if (polled[0].revents != 0) {
      return;
    }
    for (const PinChange& change : news_.Take(std::chrono::steady_clock::now())) {
      on_change_(change.pin, change.fault);
    }
  }
}

}  // namespace sparkspan::engine::fabric
