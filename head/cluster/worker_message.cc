#include "head/cluster/worker_message.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/control_characters.h"
#include "engine/base/status.h"
#include "engine/fabric/address.h"
#include "engine/runtime/plan_codec.h"
#include "proto/sparkspan/v1/worker.pb.h"

namespace sparkspan::head::cluster {
namespace {

using WallTime = std::chrono::system_clock::time_point;

// Far above what any machine has; a status page stays readable.
constexpr int kInterfacesMax = 32;
constexpr int kPeersMax = 1024;
constexpr int kPhasesMax = 64;
constexpr std::size_t kInterfaceNameBytesMax = 15;  // IFNAMSIZ, without its end
constexpr std::size_t kWordBytesMax = 128;
constexpr std::size_t kSentenceBytesMax = 4096;

LinkEnd Broke(std::string why) {
  LinkEnd end;
  end.why = absl::UnavailableError(std::move(why));
  return end;
}

// Without control characters, which would break a log's lines, and not without end.
std::string Clean(const std::string& text, std::size_t bytes_max) {
  std::string clean = text.substr(0, bytes_max);
  std::replace_if(clean.begin(), clean.end(), engine::IsControlCharacter, ' ');
  return clean;
}

std::string Word(const std::string& text) {
  return Clean(text, kWordBytesMax);
}

WorkerIdentity IdentityOf(const v1::Identity& message, WallTime asked, WallTime now) {
  WorkerIdentity identity;
  identity.program_version = Word(message.program_version());
  identity.config_hash = message.config_hash();
  identity.checkpoint_hash = message.checkpoint_hash();
  identity.numerics_hash = message.numerics_hash();
  identity.architecture = Word(message.architecture());
  identity.simd_target = Word(message.simd_target());
  identity.device = Word(message.device());
  identity.nccl_version = Word(message.nccl_version());
  const std::chrono::duration<double> theirs = std::chrono::milliseconds(message.unix_ms());
  const std::chrono::duration<double> middle = (asked + (now - asked) / 2).time_since_epoch();
  identity.clock_ahead_seconds = (theirs - middle).count();
  return identity;
}

WorkerMessage LoadedOf(const v1::Loaded& message) {
  if (message.phases_size() > kPhasesMax) {
    return Broke(absl::StrFormat("it told of %d phases of loading", message.phases_size()));
  }
  WorkerLoaded loaded;
  loaded.weights_bytes = message.weights_bytes();
  loaded.kv_bytes = message.kv_bytes();
  loaded.resident_bytes = message.resident_bytes();
  loaded.kv_blocks = message.kv_blocks();
  for (const v1::Phase& phase : message.phases()) {
    loaded.phases.push_back({Word(phase.name()), phase.seconds()});
  }
  return loaded;
}

WorkerMessage GroupFormedOf(const v1::GroupFormed& message) {
  if (message.peers_size() > kPeersMax) {
    return Broke(absl::StrFormat("it told of %d data connections", message.peers_size()));
  }
  WorkerGroupFormed formed;
  for (const v1::Peer& peer : message.peers()) {
    formed.peers.push_back({engine::Rank(peer.rank()),
                            Word(peer.local_address()),
                            Word(peer.interface()),
                            Word(peer.binding())});
  }
  return formed;
}

WorkerPulse PulseOf(const v1::Pulse& message) {
  WorkerPulse pulse;
  pulse.position.begun = engine::Step(message.begun_step());
  pulse.position.finished = engine::Step(message.finished_step());
  pulse.position.exchanges = message.exchanges();
  pulse.position.collective = v1::Collective_IsValid(message.collective())
                                  ? static_cast<engine::runtime::Collective>(message.collective())
                                  : engine::runtime::Collective::kNone;
  pulse.position.exchanging = message.exchanging();
  return pulse;
}

engine::fabric::LinkFacts LinkOf(const v1::Link& message) {
  engine::fabric::LinkFacts link;
  link.mtu = message.mtu();
  link.speed_mbps = message.speed_mbps();
  link.duplex = Word(message.duplex());
  link.pcie_width = message.pcie_width();
  link.pcie_speed = Word(message.pcie_speed());
  link.driver = Word(message.driver());
  link.rdma_device = Word(message.rdma_device());
  link.gid_index = message.has_gid_index() ? message.gid_index() : -1;
  link.gid = Word(message.gid());
  link.network_namespace = Word(message.network_namespace());
  return link;
}

absl::StatusOr<engine::fabric::PinSample> SampleOf(const v1::Interface& message) {
  engine::fabric::PinSample sample;
  sample.declared.pin.interface = Word(message.name());
  if (message.name().empty() || message.name().size() > kInterfaceNameBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("it told of an interface named '%s'", sample.declared.pin.interface));
  }
  ASSIGN_OR_RETURN(sample.declared.pin.address, engine::fabric::ParseIpv4(message.address()));
  sample.declared.control = message.control();
  sample.declared.data = message.data();
  sample.interface_index = message.index();
  sample.fault = Clean(message.fault(), kSentenceBytesMax);
  sample.path_fault = Clean(message.path_fault(), kSentenceBytesMax);
  sample.counters = {message.sent_bytes(),
                     message.received_bytes(),
                     message.errors(),
                     message.dropped(),
                     message.rdma_sent_bytes(),
                     message.rdma_received_bytes()};
  sample.declared.net = Word(message.net());
  sample.link = LinkOf(message.link());
  return sample;
}

WorkerMessage FabricOf(const v1::Fabric& message) {
  if (message.interfaces_size() > kInterfacesMax || message.peers_size() > kPeersMax) {
    return Broke(absl::StrFormat(
        "it told of %d interfaces and %d peers", message.interfaces_size(), message.peers_size()));
  }
  WorkerFabric fabric;
  // As a difference from then on; what would not fit is no time.
  constexpr std::int64_t kMillisecondsMax = std::int64_t{1} << 42;
  if (message.sampled_ms() < 0 || message.sampled_ms() > kMillisecondsMax) {
    return Broke(absl::StrFormat("it told of interfaces at %d ms", message.sampled_ms()));
  }
  fabric.sampled = engine::Time(std::chrono::milliseconds(message.sampled_ms()));
  for (const v1::Interface& interface : message.interfaces()) {
    absl::StatusOr<engine::fabric::PinSample> sample = SampleOf(interface);
    if (!sample.ok()) {
      return Broke(std::string(sample.status().message()));
    }
    fabric.interfaces.push_back(*std::move(sample));
  }
  for (const v1::PeerTraffic& peer : message.peers()) {
    fabric.peers.push_back({engine::Rank(peer.rank()), peer.sent_bytes(), peer.received_bytes()});
  }
  fabric.memory_available_bytes = message.memory().available_bytes();
  fabric.memory_shortage = Clean(message.memory().shortage(), kSentenceBytesMax);
  return fabric;
}

LinkEnd FailureOf(const v1::Failure& message) {
  // Milliseconds of a clock reach it never; a later epoch must exist.
  constexpr std::uint64_t kEpochMax = std::uint64_t{1} << 62;
  if (message.newest_epoch() > kEpochMax) {
    return Broke(absl::StrFormat("it told of epoch %d", message.newest_epoch()));
  }
  LinkEnd end;
  end.why = absl::UnavailableError(Clean(message.message(), kSentenceBytesMax));
  end.said = true;
  end.refused = message.refused();
  if (message.has_blamed_rank()) {
    end.blamed = engine::Rank(message.blamed_rank());
  }
  if (message.has_newest_epoch()) {
    end.newest_epoch = engine::Epoch(message.newest_epoch());
  }
  return end;
}

}  // namespace

WorkerMessage DecodeWorkerMessage(const v1::WorkerMessage& message, WallTime asked, WallTime now) {
  switch (message.message_case()) {
    case v1::WorkerMessage::kIdentity:
      return IdentityOf(message.identity(), asked, now);
    case v1::WorkerMessage::kLoading:
      return WorkerLoading{Word(message.loading().phase()), message.loading().seconds()};
    case v1::WorkerMessage::kLoaded:
      return LoadedOf(message.loaded());
    case v1::WorkerMessage::kGroupFormed:
      return GroupFormedOf(message.group_formed());
    case v1::WorkerMessage::kResult: {
      absl::StatusOr<engine::runtime::StepResult> result =
          engine::runtime::ResultFromProto(message.result());
      if (!result.ok()) {
        return Broke(std::string(result.status().message()));
      }
      return *std::move(result);
    }
    case v1::WorkerMessage::kPulse:
      return PulseOf(message.pulse());
    case v1::WorkerMessage::kFabric:
      return FabricOf(message.fabric());
    case v1::WorkerMessage::kFailure:
      return FailureOf(message.failure());
    case v1::WorkerMessage::MESSAGE_NOT_SET:
      break;
  }
  return Broke(absl::StrFormat("it sent a message of a kind that wire version %d lacks",
                               engine::runtime::kWireVersion));
}

}  // namespace sparkspan::head::cluster
