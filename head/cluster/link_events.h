#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/fabric/pin_monitor.h"
#include "engine/runtime/plan.h"
#include "engine/runtime/rank_position.h"

// What a worker's stream brings to the head, as plain values (docs/wire.md).
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
  std::string nccl_version;  // empty where the exchange uses none
  // How far its clock is ahead of the head's: certificates are judged by clocks. To about the time
  // that a message takes.
  double clock_ahead_seconds = 0;
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
  std::string binding;
};

struct WorkerGroupFormed {
  std::vector<WorkerPeer> peers;
};

// A sign of life.
struct WorkerPulse {
  engine::runtime::RankPosition position;
};

struct WorkerPeerTraffic {
  engine::Rank rank;
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_bytes = 0;
};

// What the rank's interfaces and its data connections have carried, and its machine's memory.
struct WorkerFabric {
  engine::Time sampled;  // by a clock of its own: only differences mean anything
  std::vector<engine::fabric::PinSample> interfaces;
  std::vector<WorkerPeerTraffic> peers;
  std::int64_t memory_available_bytes = 0;
  std::string memory_shortage;  // in words; empty while there is enough
};

// The stream is over; nothing follows.
struct LinkEnd {
  absl::Status why;
  // The worker said why itself, hence was alive; else the stream broke.
  bool said = false;
  bool refused = false;  // by the worker, of the hello: useless to try again unchanged
  std::optional<engine::Rank> blamed;  // the peer whose data connection broke
  // The hello's epoch is over, and no head holds the rank: one later than this will do.
  std::optional<engine::Epoch> newest_epoch;
};

using WorkerMessage = std::variant<WorkerIdentity,
                                   WorkerLoading,
                                   WorkerLoaded,
                                   WorkerGroupFormed,
                                   engine::runtime::StepResult,
                                   WorkerPulse,
                                   WorkerFabric,
                                   LinkEnd>;

struct LinkEvent {
  engine::Rank rank;
  std::uint64_t opening = 0;  // tells the streams of one rank apart
  WorkerMessage what;
  engine::Time time;  // when it arrived, which may be before it is taken
};

}  // namespace sparkspan::head::cluster
