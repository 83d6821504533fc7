#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "head/cluster/engine_loop.h"
#include "head/cluster/remote_cluster.h"
#include "tests/simulation/simulated_group.h"
#include "tests/simulation/simulated_links.h"
#include "tests/simulation/simulated_network.h"
#include "tests/simulation/simulated_worker.h"
#include "tests/simulation/world.h"

namespace sparkspan::tests {

// How requests ended.
struct RequestAccount {
  std::int64_t sent = 0;
  std::int64_t answered = 0;   // in full, and right
  std::int64_t refused = 0;    // at the door, with a reason
  std::int64_t failed = 0;     // with an error and a reason
  std::int64_t cancelled = 0;  // by the client
  std::int64_t cut_off = 0;    // the head's process died: the client's connection broke
};

// The real engine loop, scheduler, cluster and failure detector of a head, on simulated streams to
// simulated workers, with clients that judge every token.
class SimulatedCluster {
 public:
  SimulatedCluster(std::uint64_t seed, int ranks);

  World& world() { return world_; }
  SimulatedNetwork& network() { return network_; }
  SimulatedWorker& worker(int rank) { return *workers_[static_cast<std::size_t>(rank)]; }
  int ranks() const { return static_cast<int>(workers_.size()); }

  // Lets the head take turns, and clients read, until `time` or `done`.
  bool RunUntil(engine::Time time, const std::function<bool()>& done = {});
  bool RunFor(engine::Duration duration, const std::function<bool()>& done = {}) {
    return RunUntil(world_.Now() + duration, done);
  }

  // Sends requests from now on, `pause` apart on average; zero: no more.
  void SendRequests(engine::Duration pause);

  // The head's process is not run for a while, dies, or dies with its machine; a dead one comes
  // back after `absence`.
  void HangHead(engine::Duration duration) { head_hung_until_ = world_.Now() + duration; }
  void KillHead(engine::Duration absence, bool is_silent);

  bool is_ready() const;
  bool has_head() const { return head_ != nullptr; }
  head::api::EngineStatus Status() const { return head_->loop->Status(); }
  std::vector<head::api::RankStatus> Ranks() const { return head_->cluster->Ranks(); }

  // The first thing that went wrong; empty while all is well.
  const std::string& violation() const { return violation_; }
  const RequestAccount& account() const { return account_; }
  std::size_t open_requests() const { return clients_.size(); }

 private:
  struct Head {
    SimulatedLinks* links = nullptr;  // owned by cluster
    std::unique_ptr<head::cluster::RemoteCluster> cluster;
    std::unique_ptr<head::cluster::EngineLoop> loop;
  };
  struct Client {
    std::shared_ptr<head::api::GenerationStream> stream;
    std::vector<engine::Token> history;  // the prompt, then what came
    std::int64_t tokens_left = 0;
    std::int64_t reads_left = 0;  // then it leaves
  };

  void StartHead();
  void BuryHead();
  void SendRequest();
  void ReadAnswers();
  // Whether the client is through.
  bool Read(Client& client);
  void Violate(std::string what);

  World world_;
  SimulatedNetwork network_;
  const SimulationTimes times_;
  SimulatedGroups groups_;
  SimulatedWorkers workers_;
  std::unique_ptr<Head> head_;
  bool head_dies_ = false;
  std::optional<engine::Time> head_returns_;
  engine::Time head_hung_until_;
  std::uint64_t newest_epoch_ = 2'000'000;
  engine::Duration request_pause_{0};
  std::uint64_t request_chain_ = 0;
  std::vector<Client> clients_;
  RequestAccount account_;
  std::string violation_;
};

}  // namespace sparkspan::tests
