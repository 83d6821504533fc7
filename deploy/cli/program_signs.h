#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/service_notifier.h"
#include "engine/base/silence_detector.h"
#include "engine/base/unique_fd.h"

namespace sparkspan::deploy::cli {

// What the programs of a service say of themselves (engine/base/service_notifier.h), told on to the
// service's manager as one: ready when all are, alive while all are. Time is an argument and never
// goes back; one thread at a time. Programs are numbered as in `names`.
class ProgramSigns {
 public:
  // Where `manager` did not ask to be told, nothing below does anything.
  static absl::StatusOr<ProgramSigns> Open(engine::ServiceNotifier manager,
                                           std::vector<std::string> names);

  // What the environment of a program must hold, as "NAME=value", in place of what it has by these
  // names.
  std::vector<std::string> VariablesOf(std::size_t program) const;
  // Readable when the program has said something; -1 where it is not asked to.
  int descriptor(std::size_t program) const;

  // A program's process began, or ended and is to be started again: its silence counts from its
  // start, and the pause before the next start is no silence.
  void Started(std::size_t program, pid_t process, engine::Time now);
  void Ended(std::size_t program);

  // Takes what the program has said. Datagrams of other processes are dropped.
  void Receive(std::size_t program, engine::Time now);

  // Tells the manager what has changed, and gives it a sign of life unless a program is silent: it
  // then ends the service after its own limit. Returns when to call again.
  engine::Time Tell(engine::Time now);

  // The programs are being stopped, which has a deadline of its own: their silence is no fault.
  void Stopping();

 private:
  struct Channel {
    std::string name;
    engine::UniqueFd socket;
    std::string address;  // of the socket, as NOTIFY_SOCKET writes it
    pid_t process = -1;
    bool is_ready = false;
    std::string status;
  };

  ProgramSigns(engine::ServiceNotifier manager, std::size_t programs);
  // Of the manager's limit, half is for noticing that a program is silent, half for signs on their
  // way. Programs of a manager without a limit give no signs, and are not watched.
  static engine::Duration SilenceLimit(const engine::ServiceNotifier& manager);
  void NoteSilent(std::vector<std::size_t> silent);
  std::string Describe() const;

  engine::ServiceNotifier manager_;
  engine::SilenceDetector silence_;
  std::vector<Channel> channels_;  // [programs]; empty where the manager did not ask
  std::vector<std::size_t> silent_;
  bool is_stopping_ = false;
};

}  // namespace sparkspan::deploy::cli
