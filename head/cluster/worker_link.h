#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/runtime/plan.h"

// One worker's gRPC stream as the head sees it (docs/wire.md). worker_link.cc is the only file of
// the head that sees gRPC.
namespace sparkspan::head::cluster {

// What a worker says of itself; the head compares it over the ranks.
struct WorkerIdentity {
  std::string program_version;
  std::uint64_t config_hash = 0;
  std::uint64_t checkpoint_hash = 0;
  std::uint64_t numerics_hash = 0;
  std::string architecture;
  std::string simd_target;
  std::string device;
};

struct WorkerLoading {
  std::string phase;
  double seconds = 0;  // since the worker started
};

struct WorkerPhase {
  std::string name;
  double seconds = 0;
};

struct WorkerLoaded {
  std::int64_t weights_bytes = 0;
  std::int64_t kv_bytes = 0;
  std::int64_t resident_bytes = 0;
  std::int32_t kv_blocks = 0;
  std::vector<WorkerPhase> phases;
};

struct WorkerPeer {
  engine::Rank rank;
  std::string local_address;
  std::string interface;
};

struct WorkerGroupFormed {
  std::vector<WorkerPeer> peers;
};

// The stream is over; nothing follows.
struct LinkEnd {
  absl::Status why;
  bool refused = false;  // by the worker, of the hello: useless to try again unchanged
};

struct LinkEvent {
  engine::Rank rank;
  engine::Epoch epoch;  // of the link that it came through
  std::variant<WorkerIdentity,
               WorkerLoading,
               WorkerLoaded,
               WorkerGroupFormed,
               engine::runtime::StepResult,
               LinkEnd>
      what;
};

using LinkEvents = engine::BoundedQueue<LinkEvent>;

struct LinkOptions {
  engine::Rank rank;
  engine::Epoch epoch;
  std::string target;  // gRPC's: "unix-abstract:..." of a relay, or "ipv4:address:port"
  std::string program_version;
  std::uint64_t config_hash = 0;
  engine::Duration connect_timeout{};
  // Shared by the links of an epoch. A full queue makes the worker wait.
  std::shared_ptr<LinkEvents> events;
};

// Opens the stream on a thread of its own, says hello, and pushes what comes to `events`; the last
// event is LinkEnd. One thread may send.
class WorkerLink {
 public:
  explicit WorkerLink(LinkOptions options);
  // Cancels the stream if it is open, and waits for the thread.
  ~WorkerLink();
  WorkerLink(const WorkerLink&) = delete;
  WorkerLink& operator=(const WorkerLink&) = delete;

  // Unavailable once the stream has ended; the reason comes as LinkEnd.
  absl::Status SendFormGroup(const std::string& session_key);
  absl::Status SendPlan(const engine::runtime::StepPlan& plan);
  // Best effort, for an orderly end.
  void SendGoodbye();

 private:
  class Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace sparkspan::head::cluster
