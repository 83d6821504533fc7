#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "engine/base/clock.h"
#include "tests/simulation/world.h"

namespace sparkspan::tests {

// One direction of a TCP connection between the head and a rank: what is sent arrives in order, a
// while later, and while the path is cut not before it is whole again.
struct Pipe {
  int rank = 0;
  engine::Time last;  // when the newest message arrives
  std::deque<std::function<void()>> held;
};

// The paths of a cluster: one between the head and each rank, one between each two ranks.
class SimulatedNetwork {
 public:
  explicit SimulatedNetwork(World& world) : world_(world) {}

  std::shared_ptr<Pipe> MakePipe(int rank);
  void Send(const std::shared_ptr<Pipe>& pipe, std::function<void()> arrive);

  void CutControl(int rank) { ++control_cuts_[rank]; }
  void HealControl(int rank);
  bool IsControlCut(int rank) const { return CountOf(control_cuts_, rank) > 0; }

  void CutData(int a, int b) { ++data_cuts_[Pair(a, b)]; }
  void HealData(int a, int b);
  bool IsDataCut(int a, int b) const { return CountOf(data_cuts_, Pair(a, b)) > 0; }
  // Called whenever a data path is whole again.
  std::function<void()> on_data_healed;

  // Adds to every message's time to and from a rank.
  void SetDelay(int rank, engine::Duration delay) { delays_[rank] = delay; }
  engine::Duration Latency(int rank);

 private:
  static std::pair<int, int> Pair(int a, int b) { return {std::min(a, b), std::max(a, b)}; }
  template <typename Key>
  static int CountOf(const std::map<Key, int>& counts, const Key& key) {
    const auto found = counts.find(key);
    return found == counts.end() ? 0 : found->second;
  }
  void Arrive(const std::shared_ptr<Pipe>& pipe, std::function<void()> arrive);

  World& world_;
  std::map<int, int> control_cuts_;  // faults may overlap: how many cut a path now
  std::map<std::pair<int, int>, int> data_cuts_;
  std::map<int, engine::Duration> delays_;
  std::vector<std::weak_ptr<Pipe>> pipes_;
};

}  // namespace sparkspan::tests
