#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "engine/collective/communicator.h"

namespace sparkspan::engine::collective {

// Ranks as threads of this process that exchange through memory: what TcpCommunicator is judged by,
// and what one box without a network needs.
class LocalGroup {
 public:
  explicit LocalGroup(int ranks);  // 1 to 64
  ~LocalGroup();

  // The communicator of `rank`, owned by the group; for one thread at a time.
  Communicator& communicator(int rank);

  // Ends the group as Communicator::Abort does. The first reason stays.
  void Abort(absl::Status why);

  // Why the group ended; OK while it has not.
  absl::Status why() const;

 private:
  class Meeting;
  class RankCommunicator;

  std::unique_ptr<Meeting> meeting_;
  std::vector<std::unique_ptr<RankCommunicator>> communicators_;
};

// Runs body(rank, communicator) for every rank in a thread of its own; the communicator is null for
// a single rank. Returns when all have ended: OK, or the first error. An error of one rank ends the
// exchanges of the others. ranks: 1 to 64.
absl::Status RunRankThreads(int ranks, const std::function<absl::Status(int, Communicator*)>& body);

}  // namespace sparkspan::engine::collective
