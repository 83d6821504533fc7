#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "head/cluster/worker_links.h"
#include "tests/simulation/simulated_network.h"
#include "tests/simulation/simulated_worker.h"
#include "tests/simulation/world.h"

namespace sparkspan::tests {

using SimulatedWorkers = std::vector<std::unique_ptr<SimulatedWorker>>;

// A head's streams in a simulated world: while the head waits, the world goes on.
class SimulatedLinks final : public head::cluster::WorkerLinks {
 public:
  SimulatedLinks(World& world, SimulatedNetwork& network, SimulatedWorkers& workers)
      : world_(world), network_(network), workers_(workers), streams_(workers.size()) {}
  ~SimulatedLinks() override;

  engine::Time Now() const override { return world_.Now(); }
  void Open(engine::Rank rank, engine::Epoch epoch) override;
  void Close(engine::Rank rank) override;
  bool IsOpen(engine::Rank rank) const override { return At(rank) != nullptr; }
  std::optional<head::cluster::LinkEvent> Next(engine::Time deadline) override;
  absl::Status SendFormGroup(engine::Rank rank, const std::string& session_key) override;
  absl::Status SendPlan(engine::Rank rank, const engine::runtime::StepPlan& plan) override;
  absl::Status SendHeartbeat(engine::Rank rank) override;
  void SendGoodbye(engine::Rank rank) override { Close(rank); }
  absl::StatusOr<engine::fabric::SocketPath> Path(engine::Rank) const override {
    return absl::UnavailableError("a simulated path");
  }
  head::cluster::LinkTraffic Traffic(engine::Rank) const override { return {}; }

  // The head's process is gone: its kernel closes its connections, or, with its machine, nobody
  // does. Nothing is sent or heard from now on.
  void Die(bool is_silent);

 private:
  using Stream = std::shared_ptr<SimulatedStream>;

  Stream& At(engine::Rank rank) { return streams_[static_cast<std::size_t>(rank.value())]; }
  const Stream& At(engine::Rank rank) const {
    return streams_[static_cast<std::size_t>(rank.value())];
  }
  absl::Status Send(engine::Rank rank, SimulatedOrder order);
  void Deliver(const Stream& stream, SimulatedOrder order);
  void FailUnlessReached(const Stream& stream);

  World& world_;
  SimulatedNetwork& network_;
  SimulatedWorkers& workers_;
  std::vector<Stream> streams_;  // [ranks]
  // Cleared by Close as far as they are of the closed stream.
  std::deque<head::cluster::LinkEvent> events_;
  bool is_dead_ = false;
};

}  // namespace sparkspan::tests
