#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "deploy/cli/program_signs.h"
#include "engine/base/clock.h"
#include "engine/base/service_notifier.h"
#include "engine/base/unique_fd.h"

namespace sparkspan::deploy::cli {

struct Program {
  std::string name;  // for messages: "head", "worker 1"
  std::string path;
  std::vector<std::string> args;  // without the program's own name
};

// Whether a program that ended by itself is started again. One that ends sooner than `settle` after
// its first start never came up, and is not: what it printed has the reason.
struct Restarts {
  int restarts_max = 0;                              // of each program, in a row
  engine::Duration pause = std::chrono::seconds(1);  // before the first; doubled for each next
  engine::Duration settle = std::chrono::seconds(3);
  engine::Duration forgiven = std::chrono::minutes(10);  // a run of this length begins a new row
};

// Programs that live and die together, and are one service to a manager that wants to be told
// (deploy/cli/program_signs.h). While a Supervisor exists it takes SIGINT and SIGTERM of
// this process; the children get SIGTERM when it dies, however it dies. One thread, which must be
// the process's only one when Start is called (children are forked).
class Supervisor {
 public:
  // Starts them in this order.
  static absl::StatusOr<Supervisor> Start(const std::vector<Program>& programs,
                                          const Restarts& restarts = {},
                                          engine::ServiceNotifier manager = {});
  Supervisor(Supervisor&&) = default;
  // Stops what still runs.
  ~Supervisor();

  // Waits until a signal arrives or a program ends and may not be started again, then stops the
  // others one after the other, the last started first: SIGTERM, and SIGKILL to what has not ended
  // when `grace` is over for all of them and two seconds for itself. OK after a signal;
  // Unavailable, naming the program and how it ended, when one ended by itself.
  absl::Status Run(engine::Duration grace);

 private:
  struct Child {
    Program program;
    pid_t pid = -1;
    engine::UniqueFd pidfd;  // readable when it has ended
    bool ended = true;       // no process: not started yet, or ended
    engine::Time started;
    int restarts = 0;         // in a row
    engine::Time restart_at;  // of one that ended and will be started again
  };

  Supervisor(engine::UniqueFd signals, const Restarts& restarts, ProgramSigns signs)
      : signals_(std::move(signals)), restarts_(restarts), signs_(std::move(signs)) {}
  absl::Status Spawn(std::size_t index);
  // Plans the next start of a child that ended as `how` says; its end where there is none.
  absl::Status PlanRestart(const std::string& how, std::size_t index);
  // Starts what is due, and returns when the next start is.
  absl::StatusOr<engine::Time> StartDue();
  // Waits for a signal or an end until `deadline`, telling the manager meanwhile: the index of an
  // ended child, -1 otherwise.
  int WaitForEvent(engine::Time deadline, bool* is_signalled);
  std::string Reap(Child* child);
  void StopAll(engine::Duration grace);

  engine::UniqueFd signals_;
  Restarts restarts_;
  ProgramSigns signs_;
  std::vector<Child> children_;
};

}  // namespace sparkspan::deploy::cli
