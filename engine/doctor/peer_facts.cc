#include "engine/doctor/peer_facts.h"

#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/control_characters.h"

namespace sparkspan::engine::doctor {
namespace {

constexpr int kVersion = 1;
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

}  // namespace

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
          unix_milliseconds};
}

std::string ToJson(const PeerFacts& facts) {
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
       absl::StrFormat("control %d, bootstrap %d", own.control_mtu, own.bootstrap_mtu),
       absl::StrFormat("control %d, bootstrap %d", other.control_mtu, other.bootstrap_mtu),
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
