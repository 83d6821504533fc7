#include "engine/base/service_notifier.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "engine/base/log.h"

namespace sparkspan::engine {
namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// A datagram socket connected to a path, or to an abstract name, which is written with an @.
UniqueFd Connect(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() < 2 || name.size() >= sizeof(address.sun_path) ||
      (name[0] != '/' && name[0] != '@')) {
    LOG(WARNING) << "NOTIFY_SOCKET=" << name << " is no address of a unix socket: not used";
    return {};
  }
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == '@') {
    address.sun_path[0] = '\0';
  }
  UniqueFd descriptor(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  if (!descriptor.valid() ||
      connect(descriptor.get(), reinterpret_cast<const sockaddr*>(&address), bytes) != 0) {
    LOG(WARNING) << "NOTIFY_SOCKET=" << name << ": " << std::strerror(errno) << ": not used";
    return {};
  }
  return descriptor;
}

}  // namespace

ServiceNotifier ServiceNotifier::FromEnvironment() {
  ServiceNotifier notifier;
  const std::string name = Variable("NOTIFY_SOCKET");
  if (name.empty()) {
    return notifier;
  }
  notifier.socket_ = Connect(name);
  const std::string process = Variable("WATCHDOG_PID");
  const std::int64_t microseconds = std::atoll(Variable("WATCHDOG_USEC").c_str());
  if (microseconds > 0 && (process.empty() || process == std::to_string(getpid()))) {
    notifier.watchdog_ = std::chrono::microseconds(microseconds);
  }
  return notifier;
}

void ServiceNotifier::Ready() {
  is_ready_ = is_ready_ || Send("READY=1");
}

void ServiceNotifier::Status(const std::string& text) {
  // A line feed would begin another field.
  std::string line = text;
  std::replace(line.begin(), line.end(), '\n', ' ');
  if (line != status_ && Send("STATUS=" + line)) {
    status_ = std::move(line);
  }
}

void ServiceNotifier::Alive(Time now) {
  const bool is_due = !signed_at_ || now - *signed_at_ >= SignInterval();
  if (watchdog_.has_value() && is_due && Send("WATCHDOG=1")) {
    signed_at_ = now;
  }
}

void ServiceNotifier::Stopping() {
  is_stopping_ = is_stopping_ || Send("STOPPING=1");
}

bool ServiceNotifier::Send(const std::string& message) const {
  return !socket_.valid() ||
         send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

}  // namespace sparkspan::engine
