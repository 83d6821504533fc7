#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/fabric/address.h"
#include "engine/fabric/pin.h"
#include "engine/identity/credentials.h"
#include "head/cluster/pinned_relay.h"
#include "head/cluster/worker_link.h"
#include "head/cluster/worker_links.h"

namespace sparkspan::head::cluster {

struct GrpcLinksOptions {
  std::vector<engine::fabric::Endpoint> workers;  // [ranks]: where each worker listens
  engine::fabric::DeclaredPin control;  // the head's own interface, by which its streams leave
  // Mutual TLS: what the head proves itself with, and [ranks] the names that the workers'
  // certificates must carry (engine/identity/role.h). Without it streams are plaintext.
  std::optional<engine::identity::Credentials> tls;
  std::vector<std::string> worker_names;
  std::string program_version;
  std::uint64_t config_hash = 0;
  engine::Duration connect_timeout = std::chrono::seconds(2);
  engine::Duration silence_limit = std::chrono::seconds(1);  // of a worker: then it is lost
};

// A gRPC stream per worker, each through a relay of its own that is pinned to the head's control
// interface.
class GrpcLinks final : public WorkerLinks {
 public:
  // Starts the relays; connects to no worker yet.
  static absl::StatusOr<std::unique_ptr<GrpcLinks>> Create(GrpcLinksOptions options);

  engine::Time Now() const override { return std::chrono::steady_clock::now(); }
  void Open(engine::Rank rank, engine::Epoch epoch) override;
  void Close(engine::Rank rank) override { At(rank).link.reset(); }
  bool IsOpen(engine::Rank rank) const override { return At(rank).link != nullptr; }
  std::optional<LinkEvent> Next(engine::Time deadline) override;
  absl::Status SendFormGroup(engine::Rank rank, const std::string& session_key) override;
  absl::Status SendPlan(engine::Rank rank, const engine::runtime::StepPlan& plan) override;
  absl::Status SendHeartbeat(engine::Rank rank) override;
  void SendGoodbye(engine::Rank rank) override;
  absl::StatusOr<engine::fabric::SocketPath> Path(engine::Rank rank) const override {
    return At(rank).relay->path();
  }
  LinkTraffic Traffic(engine::Rank rank) const override { return At(rank).relay->traffic(); }

 private:
  struct Worker {
    std::unique_ptr<PinnedRelay> relay;
    std::unique_ptr<WorkerLink> link;
    std::uint64_t opening = 0;  // of the link: events of an earlier one are passed over
  };

  explicit GrpcLinks(GrpcLinksOptions options);
  Worker& At(engine::Rank rank) { return workers_[static_cast<std::size_t>(rank.value())]; }
  const Worker& At(engine::Rank rank) const {
    return workers_[static_cast<std::size_t>(rank.value())];
  }

  const GrpcLinksOptions options_;
  std::vector<Worker> workers_;  // [ranks]; relays are made once
  std::uint64_t openings_ = 0;
  std::shared_ptr<LinkEvents> events_;
};

}  // namespace sparkspan::head::cluster
