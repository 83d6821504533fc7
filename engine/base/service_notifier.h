#pragma once

#include <optional>
#include <string>

#include "engine/base/clock.h"
#include "engine/base/unique_fd.h"

namespace sparkspan::engine {

// Tells whoever started this process as a service how it is, by the protocol of sd_notify(3):
// datagrams to the unix socket that $NOTIFY_SOCKET names. systemd speaks it to `sparkspan node`,
// and `sparkspan node` to its programs. Where nobody asked to be told, nothing is sent. Nothing
// waits for the manager: what its socket has no room for (ten datagrams, unless its machine says
// otherwise) is sent by the next call. One thread at a time.
class ServiceNotifier {
 public:
  // Nobody asked.
  ServiceNotifier() = default;
  // By $NOTIFY_SOCKET, and $WATCHDOG_USEC and $WATCHDOG_PID, which say for which process and how
  // often signs of life are wanted.
  static ServiceNotifier FromEnvironment();

  bool is_wanted() const { return socket_.valid(); }
  // A service that gives no sign of life for so long is ended; empty when no signs are wanted.
  std::optional<Duration> watchdog() const { return watchdog_; }
  // How often to call Alive, at least.
  Duration SignInterval() const { return watchdog_.value_or(std::chrono::minutes(1)) / 4; }

  // Start-up has ended well. Call it again and again: it is sent once.
  void Ready();
  // One line for people, likewise: sent where it differs from the one before.
  void Status(const std::string& text);
  // A sign of life: sent when the last one is SignInterval() ago, if signs are wanted.
  void Alive(Time now);
  void Stopping();

 private:
  bool Send(const std::string& message) const;

  UniqueFd socket_;  // connected; none when nobody asked
  std::optional<Duration> watchdog_;
  bool is_ready_ = false;
  bool is_stopping_ = false;
  std::string status_;
  std::optional<Time> signed_at_;
};

}  // namespace sparkspan::engine
