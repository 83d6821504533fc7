#include "deploy/cli/program_signs.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::Duration;
using engine::Time;
using engine::UniqueFd;

constexpr std::size_t kMessageBytesMax = 4096;

// A datagram socket under an abstract name that the kernel chooses: no file to clean up, none to
// be writable for.
absl::StatusOr<UniqueFd> Bind(std::string* address) {
  UniqueFd descriptor(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  socklen_t bytes = sizeof(name.sun_family);
  const int on = 1;
  if (!descriptor.valid() ||
      setsockopt(descriptor.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0 ||
      bind(descriptor.get(), reinterpret_cast<sockaddr*>(&name), bytes) != 0) {
    return absl::UnavailableError(
        absl::StrFormat("a unix socket for the programs' signs: %s", std::strerror(errno)));
  }
  bytes = sizeof(name);
  if (getsockname(descriptor.get(), reinterpret_cast<sockaddr*>(&name), &bytes) != 0) {
    return absl::UnavailableError(absl::StrFormat("getsockname: %s", std::strerror(errno)));
  }
  *address = "@" + std::string(name.sun_path + 1, bytes - offsetof(sockaddr_un, sun_path) - 1);
  return descriptor;
}

// One datagram and the process that sent it; false when there is none.
bool ReceiveOne(int descriptor, std::string* message, pid_t* sender) {
  std::array<char, kMessageBytesMax> text;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control;
  iovec part{text.data(), text.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t bytes = recvmsg(descriptor, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (bytes < 0) {
    return false;
  }
  message->assign(text.data(), static_cast<std::size_t>(bytes));
  *sender = -1;
  const cmsghdr* carried = CMSG_FIRSTHDR(&header);
  if (carried != nullptr && carried->cmsg_level == SOL_SOCKET &&
      carried->cmsg_type == SCM_CREDENTIALS) {
    ucred credentials;
    std::memcpy(&credentials, CMSG_DATA(carried), sizeof(credentials));
    *sender = credentials.pid;
  }
  return true;
}

}  // namespace

Duration ProgramSigns::SilenceLimit(const engine::ServiceNotifier& manager) {
  return manager.watchdog().value_or(std::chrono::hours(1)) / 2;
}

ProgramSigns::ProgramSigns(engine::ServiceNotifier manager, std::size_t programs)
    : manager_(std::move(manager)), silence_(programs, SilenceLimit(manager_)) {}

absl::StatusOr<ProgramSigns> ProgramSigns::Open(engine::ServiceNotifier manager,
                                                std::vector<std::string> names) {
  ProgramSigns signs(std::move(manager), names.size());
  if (!signs.manager_.is_wanted()) {
    return signs;
  }
  for (std::string& name : names) {
    Channel channel;
    channel.name = std::move(name);
    ASSIGN_OR_RETURN(channel.socket, Bind(&channel.address));
    signs.channels_.push_back(std::move(channel));
  }
  return signs;
}

std::vector<std::string> ProgramSigns::VariablesOf(std::size_t program) const {
  if (channels_.empty()) {
    return {};
  }
  std::vector<std::string> variables = {"NOTIFY_SOCKET=" + channels_[program].address};
  if (manager_.watchdog().has_value()) {
    const auto limit = std::chrono::duration_cast<std::chrono::microseconds>(*manager_.watchdog());
    variables.push_back("WATCHDOG_USEC=" + std::to_string(limit.count()));
  }
  return variables;
}

int ProgramSigns::descriptor(std::size_t program) const {
  return channels_.empty() ? -1 : channels_[program].socket.get();
}

void ProgramSigns::Started(std::size_t program, pid_t process, Time now) {
  if (!channels_.empty()) {
    Channel& channel = channels_[program];
    channel.process = process;
    channel.is_ready = false;
    channel.status = "starting";
    silence_.Hear(program, now);
  }
}

void ProgramSigns::Ended(std::size_t program) {
  if (!channels_.empty()) {
    channels_[program].process = -1;
    channels_[program].is_ready = false;
    channels_[program].status = "ended, will be started again";
    silence_.Forget(program);
  }
}

void ProgramSigns::Receive(std::size_t program, Time now) {
  Channel& channel = channels_[program];
  std::string message;
  pid_t sender = -1;
  while (ReceiveOne(channel.socket.get(), &message, &sender)) {
    if (sender != channel.process) {
      continue;
    }
    silence_.Hear(program, now);
    channel.is_ready |= message == "READY=1";
    constexpr std::string_view kStatus = "STATUS=";
    if (message.starts_with(kStatus)) {
      channel.status = message.substr(kStatus.size());
    }
  }
}

std::string ProgramSigns::Describe() const {
  std::string text;
  for (std::size_t i = 0; i < channels_.size(); ++i) {
    const bool is_silent = std::find(silent_.begin(), silent_.end(), i) != silent_.end();
    text += absl::StrFormat("%s%s: %s",
                            text.empty() ? "" : "; ",
                            channels_[i].name,
                            is_silent ? "gives no sign of life" : channels_[i].status);
  }
  return text;
}

void ProgramSigns::NoteSilent(std::vector<std::size_t> silent) {
  if (silent == silent_) {
    return;
  }
  for (const std::size_t program : silent) {
    const std::chrono::duration<double> limit = SilenceLimit(manager_);
    LOG(ERROR) << channels_[program].name << " has given no sign of life for " << limit.count()
               << " s: the service manager gets none either until it does";
  }
  silent_ = std::move(silent);
}

Time ProgramSigns::Tell(Time now) {
  if (channels_.empty()) {
    return Time::max();
  }
  if (manager_.watchdog().has_value() && !is_stopping_) {
    NoteSilent(silence_.Silent(now));
  } else {
    silent_.clear();
  }
  manager_.Status(Describe());
  if (std::all_of(channels_.begin(), channels_.end(), [](const Channel& channel) {
        return channel.is_ready;
      })) {
    manager_.Ready();
  }
  if (silent_.empty()) {
    manager_.Alive(now);
  }
  // Twice as often as signs are wanted: SilenceDetector would take longer gaps for its own absence.
  return now + manager_.SignInterval() / 2;
}

void ProgramSigns::Stopping() {
  is_stopping_ = true;
  manager_.Stopping();
}

}  // namespace sparkspan::deploy::cli
