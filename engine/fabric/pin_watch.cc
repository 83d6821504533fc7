#include "engine/fabric/pin_watch.h"

#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"

namespace sparkspan::engine::fabric {
namespace {

// Only so that a lost wake-up costs no more than this.
constexpr int kPollTimeoutMs = 10'000;

}  // namespace

absl::StatusOr<std::unique_ptr<PinWatch>> PinWatch::Start(std::vector<DeclaredPin> pins,
                                                          OnChange on_change) {
  ASSIGN_OR_RETURN(LinkEvents events, LinkEvents::Open());
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    return absl::UnavailableError(
        absl::StrFormat("cannot make a pipe to watch interfaces: %s", std::strerror(errno)));
  }
  return std::unique_ptr<PinWatch>(new PinWatch(std::move(pins),
                                                std::move(on_change),
                                                std::move(events),
                                                UniqueFd(ends[0]),
                                                UniqueFd(ends[1])));
}

PinWatch::PinWatch(std::vector<DeclaredPin> pins,
                   OnChange on_change,
                   LinkEvents events,
                   UniqueFd stop_reader,
                   UniqueFd stop_writer)
    : on_change_(std::move(on_change)),
      events_(std::move(events)),
      stop_reader_(std::move(stop_reader)),
      stop_writer_(std::move(stop_writer)) {
  for (DeclaredPin& pin : pins) {
    states_.emplace_back(std::move(pin));
  }
  thread_ = Thread("pin watch", [this] { Run(); });
}

PinWatch::~PinWatch() {
  const char byte = 0;
  CHECK_EQ(write(stop_writer_.get(), &byte, 1), 1);
  thread_.Join();
}

void PinWatch::Run() {
  while (true) {
    pollfd polled[] = {{stop_reader_.get(), POLLIN, 0}, {events_.fd(), POLLIN, 0}};
    poll(polled, 2, kPollTimeoutMs);
    if (polled[0].revents != 0) {
      return;
    }
    const absl::StatusOr<std::vector<LinkEvent>> events = events_.Wait(Time());
    if (!events.ok()) {
      LOG(ERROR) << "interfaces are no longer watched: " << events.status().message();
      return;
    }
    for (const LinkEvent& event : *events) {
      Take(event);
    }
  }
}

void PinWatch::Take(const LinkEvent& event) {
  for (PinState& state : states_) {
    const bool held = state.fault().empty();
    if (event.kind == LinkEvent::Kind::kLost) {
      state.Set(FindPinFault(state.pin()));
    } else {
      state.Apply(event);
    }
    if (held != state.fault().empty()) {
      on_change_(state.pin(), state.fault());
    }
  }
}

}  // namespace sparkspan::engine::fabric
