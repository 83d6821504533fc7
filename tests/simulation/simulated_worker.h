#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "engine/base/silence_detector.h"
#include "head/cluster/link_events.h"
#include "tests/simulation/simulated_executor.h"
#include "tests/simulation/simulated_group.h"
#include "tests/simulation/simulated_network.h"
#include "tests/simulation/world.h"

namespace sparkspan::tests {

struct SimulationTimes {
  engine::Duration heartbeat_interval = std::chrono::milliseconds(200);
  engine::Duration silence_limit = std::chrono::milliseconds(1000);
  engine::Duration load = std::chrono::milliseconds(300);
};

// A control stream: what both ends share of it.
struct SimulatedStream {
  int rank = 0;
  engine::Epoch epoch;
  std::shared_ptr<Pipe> to_worker;
  std::shared_ptr<Pipe> to_head;
  // The head's end: takes an event, and is empty once the head has closed it.
  std::function<void(head::cluster::LinkEvent)> head;
  bool is_ended = false;  // at the head: LinkEnd was delivered
};

struct SimulatedHello {};
struct SimulatedHeartbeat {};
struct SimulatedFormGroup {
  std::string key;
};
struct SimulatedClose {};  // the head's end is closed
using SimulatedOrder = std::variant<SimulatedHello,
                                    SimulatedHeartbeat,
                                    SimulatedFormGroup,
                                    engine::runtime::StepPlan,
                                    SimulatedClose>;

// A worker's process, with the life of worker/session.h and worker/service.h: one lease, epochs
// that only grow, signs of life both ways, and weights that survive everything but its own death.
class SimulatedWorker {
 public:
  SimulatedWorker(World& world,
                  SimulatedNetwork& network,
                  SimulatedGroups& groups,
                  const SimulationTimes& times,
                  int rank);

  // ---- What can happen to it. ----
  void Start();
  void Kill();      // its kernel closes its connections
  void PowerOff();  // nobody does
  void Hang();
  void Resume();
  void SetSlow(int factor) { slow_ = factor; }
  void CorruptNextToken(bool is_corrupt) { executor_.CorruptNextToken(is_corrupt); }

  // ---- Its socket. ----
  bool is_up() const { return is_up_; }
  bool is_hung() const { return is_hung_; }
  void Arrive(const std::shared_ptr<SimulatedStream>& stream, SimulatedOrder order);

  // For the account at the end.
  bool has_lease() const { return lease_ != nullptr; }
  std::size_t open_sequences() const { return executor_.open_sequences(); }
  std::int64_t loads() const { return loads_; }

 private:
  using Stream = std::shared_ptr<SimulatedStream>;

  void Take(const Stream& stream, const SimulatedHello&);
  void Take(const Stream& stream, const SimulatedHeartbeat&);
  void Take(const Stream& stream, const SimulatedFormGroup& order);
  void Take(const Stream& stream, const engine::runtime::StepPlan& plan);
  void Take(const Stream& stream, const SimulatedClose&);

  // Runs `action` after `delay` if the process then lives and still has this lease; a hung one does
  // it when it goes on.
  void Later(engine::Duration delay, std::function<void()> action);
  template <typename What>
  void Say(const Stream& stream, What what);
  void SayFailure(const Stream& stream,
                  const absl::Status& why,
                  std::optional<engine::Epoch> newest_epoch = {});
  void SayLoaded();
  void Pulse();
  void RunNextPlan();
  void FinishPlan(const absl::Status& exchanged);
  // The stream breaks, as the head will see; the rank waits for the next head.
  void EndSession(bool closes_stream);

  World& world_;
  SimulatedNetwork& network_;
  SimulatedGroups& groups_;
  const SimulationTimes times_;
  const int rank_;
  SimulatedExecutor executor_;
  bool is_up_ = false;
  bool is_hung_ = false;
  int slow_ = 1;
  engine::Time loaded_at_;
  std::int64_t loads_ = 0;
  std::deque<std::function<void()>> while_hung_;
  std::uint64_t life_ = 0;  // counts processes and leases

  Stream lease_;
  engine::Epoch newest_epoch_;
  engine::Epoch formed_epoch_;
  bool has_group_ = false;
  bool has_failed_ = false;  // said so; the head is expected to close the stream
  std::optional<engine::SilenceDetector> silence_;
  std::deque<engine::runtime::StepPlan> plans_;
  engine::runtime::RankPosition position_;
};

}  // namespace sparkspan::tests
