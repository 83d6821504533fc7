#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/doctor/node_examiner.h"
#include "engine/identity/credentials.h"
#include "worker/lifecycle.h"

namespace sparkspan::worker {

struct ServiceOptions {
  std::string address;       // numeric, the pinned one: bound to it and no other
  std::string interface;     // that has it: streams are held on it; empty: they are not
  int port = 0;              // 0: any free one
  std::string head_address;  // the only source address a head may have
  std::string program_version;
  engine::Duration heartbeat_interval = std::chrono::milliseconds(200);
  engine::Duration silence_limit = std::chrono::seconds(1);  // of a head: then its epoch is over
  // Mutual TLS: what the worker proves itself with, and the name that a head's certificate must
  // carry (engine/identity/role.h). Without it streams are plaintext, which cluster.yaml must say.
  std::optional<engine::identity::Credentials> tls;
  std::string head_name;
  // What the head's node may ask of this one beside the stream; null: nothing.
  std::shared_ptr<engine::doctor::NodeExaminer> examiner;
};

// A worker's gRPC server: one head at a time leases the rank by holding a stream open
// (docs/wire.md), and grpc.health.v1 says whether the weights are resident. Every message of a
// stream is handled by that stream's own threads (worker/session.h). A head that falls silent loses
// the rank, which waits with its weights for the next one.
class Service {
 public:
  // `lifecycle` is borrowed. Serves from here until it is destroyed.
  static absl::StatusOr<std::unique_ptr<Service>> Start(const ServiceOptions& options,
                                                        Lifecycle& lifecycle);
  ~Service();

  int port() const;

 private:
  class Server;
  explicit Service(std::unique_ptr<Server> server);
  std::unique_ptr<Server> server_;
};

}  // namespace sparkspan::worker
