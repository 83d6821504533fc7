#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/identity/credentials.h"
#include "engine/runtime/plan.h"
#include "head/cluster/link_events.h"

// One worker's gRPC stream as the head sees it (docs/wire.md). worker_link.cc is the only file of
// the head that sees gRPC.
namespace sparkspan::head::cluster {

using LinkEvents = engine::BoundedQueue<LinkEvent>;

struct LinkOptions {
  engine::Rank rank;
  engine::Epoch epoch;
  std::uint64_t opening = 0;  // goes into its events
  std::string target;         // gRPC's: "unix-abstract:..." of a relay, or "ipv4:address:port"
  // Mutual TLS, and the name that the worker's certificate must carry. Without it the stream is
  // plaintext.
  std::optional<engine::identity::Credentials> tls;
  std::string worker_name;
  std::string program_version;
  std::uint64_t config_hash = 0;
  engine::Duration connect_timeout{};
  engine::Duration silence_limit = std::chrono::seconds(1);  // of a worker: then it is lost
  // Shared by all links. A full queue makes the worker wait.
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
  absl::Status SendHeartbeat();
  // Best effort, for an orderly end.
  void SendGoodbye();

 private:
  class Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace sparkspan::head::cluster
