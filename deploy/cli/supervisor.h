#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/unique_fd.h"

namespace sparkspan::deploy::cli {

struct Program {
  std::string name;  // for messages: "head", "worker 1"
  std::string path;
  std::vector<std::string> args;  // without the program's own name
};

// Programs that live and die together. While a Supervisor exists it takes SIGINT and SIGTERM of
// this process; the children get SIGTERM when it dies, however it dies. One thread, which must be
// the process's only one when Start is called (children are forked).
class Supervisor {
 public:
  // Starts them in this order.
  static absl::StatusOr<Supervisor> Start(const std::vector<Program>& programs);
  Supervisor(Supervisor&&) = default;
  // Stops what still runs.
  ~Supervisor();

  // Waits until a signal arrives or a program ends, then stops the others one after the other, the
  // last started first: SIGTERM, and SIGKILL to what has not ended after `grace`. OK after a
  // signal; Unavailable, naming the program and how it ended, when one ended by itself.
  absl::Status Run(engine::Duration grace);

 private:
  struct Child {
    std::string name;
    pid_t pid = -1;
    engine::UniqueFd pidfd;  // readable when it has ended
    bool ended = false;
  };

  explicit Supervisor(engine::UniqueFd signals) : signals_(std::move(signals)) {}
  absl::Status Spawn(const Program& program);
  // Waits for a signal or an end until `deadline`: the index of an ended child, -1 otherwise.
  int WaitForEvent(engine::Time deadline, bool* is_signalled);
  std::string Reap(Child* child);
  void StopAll(engine::Duration grace);

  engine::UniqueFd signals_;
  std::vector<Child> children_;
};

}  // namespace sparkspan::deploy::cli
