#include "deploy/cli/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"

namespace sparkspan::deploy::cli {
namespace {

constexpr std::chrono::seconds kGraceOnDestruction{5};

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

// In the child between fork and exec: only what is safe there.
[[noreturn]] void Become(const Program& program, pid_t parent) {
  const sigset_t signals = StopSignals();
  sigprocmask(SIG_UNBLOCK, &signals, nullptr);
  // A terminal's Ctrl-C goes to the whole foreground group: the supervisor alone decides.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) {
    _exit(127);  // The supervisor died in between.
  }
  std::vector<char*> argv;
  argv.push_back(const_cast<char*>(program.path.c_str()));
  for (const std::string& arg : program.args) {
    argv.push_back(const_cast<char*>(arg.c_str()));
  }
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

}  // namespace

absl::StatusOr<Supervisor> Supervisor::Start(const std::vector<Program>& programs,
                                             const Restarts& restarts) {
  const sigset_t signals = StopSignals();
  if (sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) {
    return absl::InternalError("cannot block signals");
  }
  engine::UniqueFd descriptor(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!descriptor.valid()) {
    return absl::UnavailableError(absl::StrFormat("signalfd: %s", std::strerror(errno)));
  }
  Supervisor supervisor(std::move(descriptor), restarts);
  for (const Program& program : programs) {
    Child child;
    child.program = program;
    RETURN_IF_ERROR(supervisor.Spawn(&child));
    supervisor.children_.push_back(std::move(child));
  }
  return supervisor;
}

absl::Status Supervisor::Spawn(Child* child) {
  const Program& program = child->program;
  if (access(program.path.c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrFormat(
        "%s: there is no program %s; build or install it", program.name, program.path));
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    return absl::UnavailableError(absl::StrFormat("fork: %s", std::strerror(errno)));
  }
  if (pid == 0) {
    Become(program, parent);
  }
  child->pid = pid;
  child->started = std::chrono::steady_clock::now();
  child->pidfd = engine::UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  child->ended = false;
  if (!child->pidfd.valid()) {
    const int fault = errno;
    kill(pid, SIGKILL);
    Reap(child);
    return absl::UnavailableError(absl::StrFormat("pidfd_open: %s", std::strerror(fault)));
  }
  return absl::OkStatus();
}

absl::Status Supervisor::PlanRestart(const std::string& how, Child* child) {
  const engine::Time now = std::chrono::steady_clock::now();
  const engine::Duration lived = now - child->started;
  if (lived >= restarts_.forgiven) {
    child->restarts = 0;
  }
  const bool never_came_up = child->restarts == 0 && lived < restarts_.settle;
  if (never_came_up || child->restarts >= restarts_.restarts_max) {
    return absl::UnavailableError(how);
  }
  const engine::Duration pause = restarts_.pause * (1 << std::min(child->restarts, 10));
  child->restart_at = now + pause;
  ++child->restarts;
  LOG(WARNING) << how << "; restart " << child->restarts << " of " << restarts_.restarts_max
               << " in " << std::chrono::duration<double>(pause).count() << " s";
  return absl::OkStatus();
}

absl::StatusOr<engine::Time> Supervisor::StartDue() {
  engine::Time next = engine::Time::max();
  for (Child& child : children_) {
    if (child.ended && child.restart_at <= std::chrono::steady_clock::now()) {
      RETURN_IF_ERROR(Spawn(&child));
    } else if (child.ended) {
      next = std::min(next, child.restart_at);
    }
  }
  return next;
}

Supervisor::~Supervisor() {
  StopAll(kGraceOnDestruction);
}

int Supervisor::WaitForEvent(engine::Time deadline, bool* is_signalled) {
  std::vector<pollfd> polled = {{signals_.get(), POLLIN, 0}};
  for (const Child& child : children_) {
    polled.push_back({child.ended ? -1 : child.pidfd.get(), POLLIN, 0});
  }
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  const auto timeout_ms = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1'000'000));
  poll(polled.data(), polled.size(), timeout_ms);
  if (polled[0].revents != 0) {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      *is_signalled = true;
    }
  }
  for (std::size_t i = 0; i < children_.size(); ++i) {
    if (polled[i + 1].revents != 0) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

std::string Supervisor::Reap(Child* child) {
  int status = 0;
  waitpid(child->pid, &status, 0);
  child->ended = true;
  if (WIFSIGNALED(status)) {
    return absl::StrFormat("%s was ended by signal %d (%s)",
                           child->program.name,
                           WTERMSIG(status),
                           strsignal(WTERMSIG(status)));
  }
  return absl::StrFormat("%s ended with status %d", child->program.name, WEXITSTATUS(status));
}

absl::Status Supervisor::Run(engine::Duration grace) {
  absl::Status why;
  for (bool is_signalled = false; !is_signalled && why.ok();) {
    const absl::StatusOr<engine::Time> next = StartDue();
    if (!next.ok()) {
      why = next.status();
      break;
    }
    const int ended = WaitForEvent(*next, &is_signalled);
    if (ended >= 0) {
      Child& child = children_[static_cast<std::size_t>(ended)];
      why = PlanRestart(Reap(&child), &child);
    }
  }
  StopAll(grace);
  return why;
}

void Supervisor::StopAll(engine::Duration grace) {
  const engine::Time deadline = std::chrono::steady_clock::now() + grace;
  bool is_signalled = false;
  for (auto child = children_.rbegin(); child != children_.rend(); ++child) {
    if (!child->ended) {
      kill(child->pid, SIGTERM);
    }
    // A second signal means: now.
    while (!child->ended && !is_signalled && std::chrono::steady_clock::now() < deadline) {
      const int ended = WaitForEvent(deadline, &is_signalled);
      if (ended >= 0) {
        Reap(&children_[static_cast<std::size_t>(ended)]);
      }
    }
  }
  for (Child& child : children_) {
    if (!child.ended) {
      kill(child.pid, SIGKILL);
      Reap(&child);
    }
  }
}

}  // namespace sparkspan::deploy::cli
