#include "engine/doctor/peer_facts.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/control_characters.h"
#include "engine/doctor/examination.h"

namespace sparkspan::engine::doctor {
namespace {

constexpr int kVersion = 2;
constexpr std::size_t kRailsMax = 64;
constexpr std::int64_t kClockSkewMsMax = 2'000;

std::int64_t MtuOf(const NodeFacts& facts, const std::string& name) {
  const fabric::Interface* interface = FindByName(facts, name);
  return interface == nullptr ? 0 : interface->mtu;
}

// One line of a comparison: what both have, or what differs.
struct Comparison {
  const char* id;
  Outcome outcome;  // of a difference
  std::string own;
  std::string other;
  const char* next_step;
};

void Compare(const std::string& node, const Comparison& line, Report* report) {
  if (line.own == line.other) {
    report->Pass(line.id, "node " + node, line.own.empty() ? "none on both" : line.own);
    return;
  }
  const std::string found = absl::StrFormat("'%s' here, '%s' there", line.own, line.other);
  if (line.outcome == Outcome::kFailure) {
    report->Fail(line.id, "node " + node, found, "the same", line.next_step);
  } else {
    report->Warn(line.id, "node " + node, found, "the same", line.next_step);
  }
}

// What a peer may not say, though it is JSON.
struct Fault {
  const char* key;
  const char* expected;
};

// nlohmann would convert a float, which is undefined where it is out of range. Throws Fault, and
// nlohmann's exceptions.
template <typename Integer>
Integer ReadCount(const nlohmann::json& root, const char* key) {
  const nlohmann::json& value = root.at(key);
  if (!value.is_number_unsigned() ||
      value.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<Integer>::max()}) {
    throw Fault{key, "a whole number of at least 0"};
  }
  return value.get<Integer>();
}

// Of one line, since it is printed. Throws as ReadCount does.
std::string ReadLine(const nlohmann::json& root, const char* key) {
  constexpr std::size_t kBytesMax = 256;
  std::string text = root.at(key).get<std::string>();
  if (text.size() > kBytesMax || HasControlCharacters(text)) {
    throw Fault{key, "at most 256 bytes without control characters"};
  }
  return text;
}

RailFacts ReadRail(const nlohmann::json& root) {
  const absl::StatusOr<fabric::Ipv4Address> address = fabric::ParseIpv4(ReadLine(root, "address"));
  const int prefix_length = ReadCount<int>(root, "prefix_length");
  if (!address.ok()) {
    throw Fault{"address", "an IPv4 address"};
  }
  if (prefix_length > 32) {
    throw Fault{"prefix_length", "at most 32"};
  }
  return {{ReadLine(root, "netdev"), *address},
          prefix_length,
          ReadCount<std::int64_t>(root, "mtu"),
          ReadLine(root, "rdma_device")};
}

std::vector<RailFacts> ReadRails(const nlohmann::json& root) {
  const nlohmann::json& list = root.at("rails");
  if (!list.is_array() || list.size() > kRailsMax) {
    throw Fault{"rails", "a list of at most 64"};
  }
  std::vector<RailFacts> rails;
  for (const nlohmann::json& rail : list) {
    rails.push_back(ReadRail(rail));
  }
  return rails;
}

std::vector<RailFacts> RailsOf(const config::ClusterConfig& config,
                               const config::NodeConfig& node,
                               const NodeFacts& facts) {
  std::vector<RailFacts> rails;
  for (const fabric::Rail& rail : ResolvedRails({config, node, facts})) {
    const fabric::Interface* interface = FindByName(facts, rail.netdev);
    if (interface != nullptr && !interface->addresses.empty()) {
      const fabric::InterfaceAddress& held = interface->addresses[0];
      rails.push_back(
          {{rail.netdev, held.address}, held.prefix_length, interface->mtu, rail.rdma_device});
    }
  }
  return rails;
}

bool AreInOneSubnet(const RailFacts& a, const RailFacts& b) {
  const int bits = std::min(a.prefix_length, b.prefix_length);
  return bits > 0 && NetworkOf(a.pin.address, bits) == NetworkOf(b.pin.address, bits);
}

// "control 9000, bootstrap 9000, rail 192.168.178.0/24 9000", here and there. Of the rails that
// both have, in this node's order.
std::pair<std::string, std::string> CompareMtus(const PeerFacts& own, const PeerFacts& other) {
  constexpr char kPlanes[] = "control %d, bootstrap %d";
  std::string here = absl::StrFormat(kPlanes, own.control_mtu, own.bootstrap_mtu);
  std::string there = absl::StrFormat(kPlanes, other.control_mtu, other.bootstrap_mtu);
  for (const RailFacts& rail : own.rails) {
    if (const RailFacts* end = OtherEnd(rail, other); end != nullptr) {
      const std::string name =
          absl::StrFormat(", rail %s/%d ",
                          ToString(NetworkOf(rail.pin.address, rail.prefix_length)),
                          rail.prefix_length);
      here += name + std::to_string(rail.mtu);
      there += name + std::to_string(end->mtu);
    }
  }
  return {here, there};
}

}  // namespace

const RailFacts* OtherEnd(const RailFacts& rail, const PeerFacts& other) {
  const RailFacts* end = nullptr;
  for (const RailFacts& candidate : other.rails) {
    if (AreInOneSubnet(rail, candidate)) {
      if (end != nullptr) {
        return nullptr;
      }
      end = &candidate;
    }
  }
  return end;
}

PeerFacts MakePeerFacts(const config::ClusterConfig& config,
                        const config::NodeConfig& node,
                        const NodeFacts& facts,
                        std::string_view program_version,
                        std::int64_t unix_milliseconds) {
  return {node.name,
          std::string(program_version),
          Hash(config),
          facts.kernel,
          facts.gpu_driver,
          facts.checkpoint.index_hash,
          facts.checkpoint.shard_bytes,
          MtuOf(facts, node.control.interface),
          MtuOf(facts, node.bootstrap.interface),
          RailsOf(config, node, facts),
          unix_milliseconds};
}

std::string ToJson(const PeerFacts& facts) {
  nlohmann::ordered_json rails = nlohmann::ordered_json::array();
  for (const RailFacts& rail : facts.rails) {
    rails.push_back({{"netdev", rail.pin.interface},
                     {"address", ToString(rail.pin.address)},
                     {"prefix_length", rail.prefix_length},
                     {"mtu", rail.mtu},
                     {"rdma_device", rail.rdma_device}});
  }
  const nlohmann::ordered_json root = {{"version", kVersion},
                                       {"node", facts.node},
                                       {"program_version", facts.program_version},
                                       {"config_hash", facts.config_hash},
                                       {"kernel", facts.kernel},
                                       {"gpu_driver", facts.gpu_driver},
                                       {"checkpoint_index_hash", facts.checkpoint_index_hash},
                                       {"checkpoint_bytes", facts.checkpoint_bytes},
                                       {"control_mtu", facts.control_mtu},
                                       {"bootstrap_mtu", facts.bootstrap_mtu},
                                       {"rails", std::move(rails)},
                                       {"unix_milliseconds", facts.unix_milliseconds}};
  return root.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

absl::StatusOr<PeerFacts> ParsePeerFacts(std::string_view json) {
  if (json.find('\0') != std::string_view::npos) {  // nlohmann takes it for the end
    return absl::InvalidArgumentError("the other node's facts cannot be read: there is a NUL byte");
  }
  try {
    const nlohmann::json root = nlohmann::json::parse(json);
    if (root.at("version") != kVersion) {
      return absl::InvalidArgumentError(
          "the other node's doctor is of another release; use one release on all nodes");
    }
    return PeerFacts{ReadLine(root, "node"),
                     ReadLine(root, "program_version"),
                     ReadCount<std::uint64_t>(root, "config_hash"),
                     ReadLine(root, "kernel"),
                     ReadLine(root, "gpu_driver"),
                     ReadCount<std::uint64_t>(root, "checkpoint_index_hash"),
                     ReadCount<std::int64_t>(root, "checkpoint_bytes"),
                     ReadCount<std::int64_t>(root, "control_mtu"),
                     ReadCount<std::int64_t>(root, "bootstrap_mtu"),
                     ReadRails(root),
                     ReadCount<std::int64_t>(root, "unix_milliseconds")};
  } catch (const nlohmann::json::exception& fault) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the other node's facts cannot be read: %s", fault.what()));
  } catch (const Fault& fault) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the other node's facts cannot be read: %s: expected %s", fault.key, fault.expected));
  }
}

void ComparePeers(const PeerFacts& own,
                  const PeerFacts& other,
                  std::int64_t round_trip_ms,
                  Report* report) {
  const auto [own_mtus, other_mtus] = CompareMtus(own, other);
  const Comparison lines[] = {
      {"peer.program",
       Outcome::kFailure,
       own.program_version,
       other.program_version,
       "install one release on all nodes"},
      {"peer.config",
       Outcome::kFailure,
       absl::StrFormat("%016x", own.config_hash),
       absl::StrFormat("%016x", other.config_hash),
       "copy the head's cluster.yaml to that node"},
      {"peer.model",
       Outcome::kFailure,
       absl::StrFormat("%016x, %d bytes", own.checkpoint_index_hash, own.checkpoint_bytes),
       absl::StrFormat("%016x, %d bytes", other.checkpoint_index_hash, other.checkpoint_bytes),
       "copy the checkpoint from one node to the other"},
      {"peer.mtu",
       Outcome::kFailure,
       own_mtus,
       other_mtus,
       "set one MTU at both ends: large transfers stall otherwise"},
      {"peer.kernel", Outcome::kWarning, own.kernel, other.kernel, "run one kernel on all nodes"},
      {"peer.driver",
       Outcome::kWarning,
       own.gpu_driver,
       other.gpu_driver,
       "install one driver on all nodes"}};
  for (const Comparison& line : lines) {
    Compare(other.node, line, report);
  }
  const std::int64_t skew = std::abs(own.unix_milliseconds - other.unix_milliseconds);
  if (skew > kClockSkewMsMax + round_trip_ms) {
    report->Warn("peer.clock",
                 "node " + other.node,
                 absl::StrFormat("the clocks are %.1f s apart", static_cast<double>(skew) / 1e3),
                 "at most 2 s, since certificates have dates",
                 "let both nodes take their time from one server");
  } else {
    report->Pass("peer.clock", "node " + other.node, absl::StrFormat("%d ms apart", skew));
  }
}

}  // namespace sparkspan::engine::doctor
