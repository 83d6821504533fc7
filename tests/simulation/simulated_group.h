#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "tests/simulation/simulated_network.h"
#include "tests/simulation/world.h"

namespace sparkspan::tests {

// The data connections between ranks, reduced to what can go wrong with them: a group forms once
// all its members are there, and an exchange of a step ends on a rank once every other rank's part
// has reached it, or fails on it when another rank has left or is out of reach.
class SimulatedGroups {
 public:
  using Done = std::function<void(const absl::Status&)>;

  SimulatedGroups(World& world,
                  SimulatedNetwork& network,
                  int ranks,
                  engine::Duration silence_limit);

  // Enters the group that knows `key`; `done` comes when all have, unless the rank leaves before.
  void Join(int rank, const std::string& key, Done done);
  // Takes part in the exchange of a step; `done` comes unless the rank leaves before.
  void Exchange(int rank, std::uint64_t step, Done done);
  // Closes the rank's connections: the others see it at once where there is a path.
  void Leave(int rank);
  // The rank's machine is gone without a word; what it sent is never acknowledged.
  void Vanish(int rank);

  bool IsMember(int rank) const { return !members_[static_cast<std::size_t>(rank)].key.empty(); }

 private:
  struct Member {
    std::string key;            // empty: in no group
    std::uint64_t joining = 0;  // counts, so that late events find that they are late
    Done formed;
    Done exchanged;
    std::uint64_t step = 0;  // of the newest exchange that it began
    bool vanished = false;
  };

  Member& At(int rank) { return members_[static_cast<std::size_t>(rank)]; }
  int Count() const { return static_cast<int>(members_.size()); }
  void TryForm(const std::string& key);
  void TryFinish(int rank);
  void CheckPeers(int rank);
  void Answer(int rank, Done Member::*which, absl::Status status);

  World& world_;
  SimulatedNetwork& network_;
  const engine::Duration silence_limit_;
  std::vector<Member> members_;
  std::map<std::string, std::vector<int>> left_;  // by key: who has closed its connections
  std::uint64_t joinings_ = 0;
};

}  // namespace sparkspan::tests
