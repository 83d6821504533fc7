#pragma once

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/service_notifier.h"
#include "engine/base/unique_fd.h"

namespace sparkspan::tests {

// The receiving end of sd_notify(3): a socket of its own, and the variables that lead to it.
class NotifyReceiver {
 public:
  NotifyReceiver() : socket_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    CHECK_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name.sun_family)), 0);
    socklen_t bytes = sizeof(name);
    CHECK_EQ(getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&name), &bytes), 0);
    address_ = "@" + std::string(name.sun_path + 1, bytes - offsetof(sockaddr_un, sun_path) - 1);
  }

  const std::string& address() const { return address_; }

  // A notifier of a process that was started with these variables; empty ones are not set.
  static engine::ServiceNotifier NotifierOf(const std::string& address,
                                            const std::string& watchdog_usec = "",
                                            const std::string& watchdog_pid = "") {
    Set("NOTIFY_SOCKET", address);
    Set("WATCHDOG_USEC", watchdog_usec);
    Set("WATCHDOG_PID", watchdog_pid);
    engine::ServiceNotifier notifier = engine::ServiceNotifier::FromEnvironment();
    Set("NOTIFY_SOCKET", "");
    Set("WATCHDOG_USEC", "");
    Set("WATCHDOG_PID", "");
    return notifier;
  }

  // What has come since the last call.
  std::vector<std::string> Heard() {
    std::vector<std::string> messages;
    std::array<char, 4096> text;
    for (ssize_t bytes = 0;
         (bytes = recv(socket_.get(), text.data(), text.size(), MSG_DONTWAIT)) >= 0;) {
      messages.emplace_back(text.data(), static_cast<std::size_t>(bytes));
    }
    return messages;
  }

 private:
  static void Set(const char* name, const std::string& value) {
    CHECK_EQ(value.empty() ? unsetenv(name) : setenv(name, value.c_str(), 1), 0);
  }

  engine::UniqueFd socket_;
  std::string address_;
};

}  // namespace sparkspan::tests
