#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/fabric/pinned_socket.h"
#include "engine/runtime/plan.h"
#include "head/cluster/link_events.h"
#include "head/cluster/link_traffic.h"

namespace sparkspan::head::cluster {

// The streams to all workers, and the time that passes while one waits for them: all of the world
// that RemoteCluster decides by. GrpcLinks is the real one; a simulation makes another, in virtual
// time. One thread at a time, but for Now, Path and Traffic.
class WorkerLinks {
 public:
  virtual ~WorkerLinks() = default;

  virtual engine::Time Now() const = 0;  // Thread-safe.

  // Opens a rank's stream and says hello in `epoch`. What becomes of it comes as events; the last
  // one is LinkEnd. The stream must not be open.
  virtual void Open(engine::Rank rank, engine::Epoch epoch) = 0;
  // Ends a rank's stream, if it is open: no event of it comes any more, LinkEnd neither.
  virtual void Close(engine::Rank rank) = 0;
  virtual bool IsOpen(engine::Rank rank) const = 0;

  // The next event of any stream. Waits for one until `deadline`; Time::min(): does not wait.
  virtual std::optional<LinkEvent> Next(engine::Time deadline) = 0;

  // Unavailable once the stream has ended; the reason comes as LinkEnd.
  virtual absl::Status SendFormGroup(engine::Rank rank, const std::string& session_key) = 0;
  virtual absl::Status SendPlan(engine::Rank rank, const engine::runtime::StepPlan& plan) = 0;
  virtual absl::Status SendHeartbeat(engine::Rank rank) = 0;
  virtual void SendGoodbye(engine::Rank rank) = 0;

  // Where the newest connection to a rank was proven to lie; the reason if none could be made.
  // Thread-safe.
  virtual absl::StatusOr<engine::fabric::SocketPath> Path(engine::Rank rank) const = 0;
  virtual LinkTraffic Traffic(engine::Rank rank) const = 0;
};

}  // namespace sparkspan::head::cluster
