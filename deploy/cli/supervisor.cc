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
// For each program, also when those before it have used up the grace.
constexpr std::chrono::seconds kGraceOfItsOwn{2};

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

// In the child between fork and exec: only what is safe there.
[[noreturn]] void Become(const std::vector<char*>& argv,
                         const std::vector<char*>& variables,
                         pid_t parent) {
  const sigset_t signals = StopSignals();
  sigprocmask(SIG_UNBLOCK, &signals, nullptr);
  // A terminal's Ctrl-C goes to the whole foreground group: the supervisor alone decides.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) {
    _exit(127);  // The supervisor died in between.
  }
  execve(argv[0], argv.data(), variables.data());
  _exit(127);
}

// As execve takes them; borrows the texts.
std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) {
    pointers.push_back(const_cast<char*>(text.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

// This process's environment, less what its own service manager told it, plus `own`.
std::vector<std::string> Environment(std::vector<std::string> own) {
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (!text.starts_with("NOTIFY_SOCKET=") && !text.starts_with("WATCHDOG_USEC=") &&
        !text.starts_with("WATCHDOG_PID=")) {
      own.emplace_back(text);
    }
  }
  return own;
}

// To this one process: -1 would be every process that there is.
void Signal(pid_t pid, int signal) {
  CHECK_GT(pid, 0);
  kill(pid, signal);
}

}  // namespace

absl::StatusOr<Supervisor> Supervisor::Start(const std::vector<Program>& programs,
                                             const Restarts& restarts,
                                             engine::ServiceNotifier manager) {
  const sigset_t signals = StopSignals();
  if (sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) {
    return absl::InternalError("cannot block signals");
  }
  engine::UniqueFd descriptor(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!descriptor.valid()) {
    return absl::UnavailableError(absl::StrFormat("signalfd: %s", std::strerror(errno)));
  }
  std::vector<std::string> names;
  for (const Program& program : programs) {
    names.push_back(program.name);
  }
  ASSIGN_OR_RETURN(ProgramSigns signs, ProgramSigns::Open(std::move(manager), std::move(names)));
  Supervisor supervisor(std::move(descriptor), restarts, std::move(signs));
  for (const Program& program : programs) {
    supervisor.children_.emplace_back().program = program;
  }
  for (std::size_t i = 0; i < programs.size(); ++i) {
    RETURN_IF_ERROR(supervisor.Spawn(i));
  }
  return supervisor;
}

absl::Status Supervisor::Spawn(std::size_t index) {
  Child* const child = &children_[index];
  const Program& program = child->program;
  if (access(program.path.c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrFormat(
        "%s: there is no program %s; build or install it", program.name, program.path));
  }
  std::vector<std::string> arguments = {program.path};
  arguments.insert(arguments.end(), program.args.begin(), program.args.end());
  const std::vector<std::string> variables = Environment(signs_.VariablesOf(index));
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(variables);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    return absl::UnavailableError(absl::StrFormat("fork: %s", std::strerror(errno)));
  }
  if (pid == 0) {
    Become(argv, envp, parent);
  }
  child->pid = pid;
  child->started = std::chrono::steady_clock::now();
  child->pidfd = engine::UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  child->ended = false;
  if (!child->pidfd.valid()) {
    const int fault = errno;
    Signal(pid, SIGKILL);
    Reap(child);
    return absl::UnavailableError(absl::StrFormat("pidfd_open: %s", std::strerror(fault)));
  }
  signs_.Started(index, pid, child->started);
  return absl::OkStatus();
}

absl::Status Supervisor::PlanRestart(const std::string& how, std::size_t index) {
  Child* const child = &children_[index];
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
  signs_.Ended(index);
  LOG(WARNING) << how << "; restart " << child->restarts << " of " << restarts_.restarts_max
               << " in " << std::chrono::duration<double>(pause).count() << " s";
  return absl::OkStatus();
}

absl::StatusOr<engine::Time> Supervisor::StartDue() {
  engine::Time next = engine::Time::max();
  for (std::size_t i = 0; i < children_.size(); ++i) {
    const Child& child = children_[i];
    if (child.ended && child.restart_at <= std::chrono::steady_clock::now()) {
      RETURN_IF_ERROR(Spawn(i));
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
  const std::size_t count = children_.size();
  while (true) {
    const engine::Time wake = std::min(deadline, signs_.Tell(std::chrono::steady_clock::now()));
    std::vector<pollfd> polled = {{signals_.get(), POLLIN, 0}};
    for (const Child& child : children_) {
      polled.push_back({child.ended ? -1 : child.pidfd.get(), POLLIN, 0});
    }
    for (std::size_t i = 0; i < count; ++i) {
      polled.push_back({signs_.descriptor(i), POLLIN, 0});
    }
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(wake - std::chrono::steady_clock::now());
    const auto timeout_ms = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1'000'000));
    poll(polled.data(), polled.size(), timeout_ms);
    const engine::Time now = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < count; ++i) {
      if (polled[1 + count + i].revents != 0) {
        signs_.Receive(i, now);
      }
    }
    if (polled[0].revents != 0) {
      signalfd_siginfo info;
      while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
        *is_signalled = true;
      }
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (polled[1 + i].revents != 0) {
        return static_cast<int>(i);
      }
    }
    if (*is_signalled || now >= deadline) {
      return -1;
    }
  }
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
      const auto index = static_cast<std::size_t>(ended);
      why = PlanRestart(Reap(&children_[index]), index);
    }
  }
  StopAll(grace);
  return why;
}

void Supervisor::StopAll(engine::Duration grace) {
  const engine::Time deadline = std::chrono::steady_clock::now() + grace;
  signs_.Stopping();
  bool is_signalled = false;
  for (auto child = children_.rbegin(); child != children_.rend(); ++child) {
    if (child->ended) {
      continue;
    }
    Signal(child->pid, SIGTERM);
    const engine::Time own_deadline =
        std::max<engine::Time>(deadline, std::chrono::steady_clock::now() + kGraceOfItsOwn);
    // A second signal means: now.
    while (!child->ended && !is_signalled && std::chrono::steady_clock::now() < own_deadline) {
      const int ended = WaitForEvent(own_deadline, &is_signalled);
      if (ended >= 0) {
        Reap(&children_[static_cast<std::size_t>(ended)]);
      }
    }
    if (!child->ended) {
      Signal(child->pid, SIGKILL);
      Reap(&*child);
    }
  }
}

}  // namespace sparkspan::deploy::cli
