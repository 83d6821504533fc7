#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/ids.h"
#include "engine/fabric/address.h"
#include "engine/fabric/pin.h"

// What cluster.yaml says, as plain values with every default filled in. All nodes read the same
// file; its hash is compared wherever two processes meet (docs/decisions/0008).
namespace sparkspan::engine::config {

// The version that a file must name. Raised when a key changes its meaning.
inline constexpr std::int64_t kConfigVersion = 1;

enum class Numerics : std::uint8_t { kQuantised, kUnquantised };  // docs/decisions/0001

// How routed experts are dealt to ranks: a slice of every expert, or whole experts.
enum class Experts : std::uint8_t { kSplit, kWhole };

// Which texts stand for a reasoning effort; belongs to the checkpoint's release. kAuto looks at the
// encoder that the checkpoint's folder holds.
enum class EncodingProfile : std::uint8_t { kAuto, kPreview, k0731 };

// The keys of an answer that carry its reasoning.
enum class ReasoningField : std::uint8_t { kBoth, kReasoningContent, kReasoning, kNone };

// Which drafter proposes tokens: kAuto takes what the checkpoint holds.
enum class Draft : std::uint8_t { kAuto, kNone, kDspark, kMtp };

// How many of its drafts a step verifies (engine/schedule/verification.h).
enum class Verification : std::uint8_t { kHardware, kFixed, kThreshold, kNone };

enum class DeviceKind : std::uint8_t { kCpu, kCuda };

// What a rank computes on.
inline constexpr std::int32_t kCpuThreadsMax = 1024;

struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  std::int32_t cpu_threads = 1;  // Of kCpu.
  std::int32_t cuda_index = 0;   // Of kCuda.

  bool operator==(const Device&) const = default;
};

// How the ranks' partial sums travel.
enum class DataTransport : std::uint8_t {
  kRails,  // RDMA over the named rails
  kTcp,    // TCP over the bootstrap interface; never chosen silently
  kLocal   // inside one machine, no network
};

struct RankConfig {
  Rank rank;
  Device device;
  std::uint16_t control_port = 0;  // The worker's gRPC, on the node's control address.
  std::uint16_t data_port = 0;     // Collectives, on the node's bootstrap address.

  bool operator==(const RankConfig&) const = default;
};

struct NodeConfig {
  std::string name;
  fabric::DeclaredPin control;    // Plans and results between head and workers.
  fabric::DeclaredPin bootstrap;  // Where collectives meet; the control pin unless given.
  DataTransport data = DataTransport::kTcp;  // Means nothing on a node without ranks.
  std::vector<std::string> rails;  // Exact names of netdevs or RDMA devices; of kRails only.
  std::vector<RankConfig> ranks;   // Empty on a node that only holds the head.
  std::string model_path;          // Where this node has the checkpoint; empty: model.path.

  bool operator==(const NodeConfig&) const = default;
};

// A cable between two rails, for layouts without a switch.
struct Link {
  struct End {
    std::string node;
    std::string rail;

    bool operator==(const End&) const = default;
  };
  End from;
  End to;

  bool operator==(const Link&) const = default;
};

struct Limits {
  std::int64_t context_length = 32'768;  // tokens of a sequence, prompt and answer
  std::int64_t sequences = 8;            // decoding at the same time
  std::int64_t step_rows = 2'048;        // tokens of one step, over all sequences
  // At most one of the two; without either, what memory leaves.
  std::optional<std::int64_t> kv_memory_bytes;                // per rank
  std::optional<std::int64_t> kv_tokens;                      // of all sequences together
  std::int64_t waiting_requests = 64;                         // more are refused
  std::int64_t memory_reserve_bytes = std::int64_t{4} << 30;  // left free on every node

  bool operator==(const Limits&) const = default;
};

struct Model {
  std::string path;
  std::vector<std::string> served_names;  // The first is used where a client names none.
  EncodingProfile encoding_profile = EncodingProfile::kAuto;
  std::string default_thinking = "on";  // "off", "on" or an effort: minimal, low, ... max

  bool operator==(const Model&) const = default;
};

// Paths of PEM files, or plaintext said aloud.
struct Tls {
  bool plaintext = false;
  std::string authority;  // Of the control plane: who signs both sides' certificates.
  std::string certificate;
  std::string key;

  bool operator==(const Tls&) const = default;
};

struct Api {
  std::string address;  // Numeric, IPv4 or IPv6.
  std::uint16_t port = 8000;
  std::string keys_file;  // Empty: no keys are asked for.
  Tls tls;
  bool accept_any_model_name = false;          // Else what is not served is a 404.
  std::optional<std::int64_t> max_tokens_cap;  // Of requests that set no limit themselves.
  ReasoningField reasoning_field = ReasoningField::kBoth;
  bool response_format_in_prompt = true;          // Else response_format is refused.
  std::vector<std::string> allowed_origins{"*"};  // Of pages that browsers let ask.
  std::int64_t keep_alive_ms = 15'000;            // Between comments in silent streams; 0: none.
  std::int64_t body_bytes_max = std::int64_t{64} << 20;

  bool operator==(const Api&) const = default;
};

struct Timeouts {
  std::int64_t heartbeat_ms = 200;  // Between signs of life on every control stream.
  std::int64_t silence_ms = 1'000;  // A rank or a head that gives none for so long is lost.
  std::int64_t step_ms = 60'000;    // For one step of all ranks.
  std::int64_t start_ms = 600'000;  // For loading and connecting.
  std::int64_t queue_ms = 600'000;  // A request may wait for its turn.

  bool operator==(const Timeouts&) const = default;
};

struct ClusterConfig {
  std::string cluster;
  std::string head;  // The node that runs the head.
  Model model;
  Numerics numerics = Numerics::kQuantised;
  Experts experts = Experts::kSplit;
  Draft draft = Draft::kAuto;
  Verification verification = Verification::kHardware;
  std::int64_t verification_threshold_percent = 30;  // of Verification::kThreshold
  Limits limits;
  std::map<std::string, Limits> profiles;  // Each is `limits` with some of them replaced.
  std::string profile;                     // The one in force; empty: `limits` itself.
  Api api;
  Tls control_tls;
  Timeouts timeouts;
  // Keep NCCL_* and the like from the environment instead of clearing them.
  bool allow_env_overrides = false;
  std::vector<NodeConfig> nodes;
  std::vector<Link> links;

  bool operator==(const ClusterConfig&) const = default;

  // Of the profile in force.
  const Limits& EffectiveLimits() const;
  // Nothing needs to draft what nothing verifies.
  Draft EffectiveDraft() const {
    return verification == Verification::kNone ? Draft::kNone : draft;
  }
  int ranks() const;
};

// The spellings of the file.
std::string_view ToString(Numerics value);
std::string_view ToString(Experts value);
std::string_view ToString(EncodingProfile value);
std::string_view ToString(ReasoningField value);
std::string_view ToString(Draft value);
std::string_view ToString(Verification value);
std::string_view ToString(DataTransport value);

// [ranks]: where each rank's collectives listen, and where its worker does. The configuration must
// be a checked one (check_cluster_config.h), as for NodeOf.
std::vector<fabric::Endpoint> DataEndpoints(const ClusterConfig& config);
std::vector<fabric::Endpoint> ControlEndpoints(const ClusterConfig& config);

// The node that holds `rank`.
const NodeConfig& NodeOf(const ClusterConfig& config, Rank rank);

// A key of the file, such as "nodes[1].control.address", and its value.
struct ConfigField {
  std::string key;
  std::string value;

  bool operator==(const ConfigField&) const = default;
};

// Every field in a fixed order: the canonical form, the same however the file was written.
std::vector<ConfigField> Fields(const ClusterConfig& config);

// Of the canonical form. Equal configurations have equal hashes on every machine.
std::uint64_t Hash(const ClusterConfig& config);

struct ConfigDifference {
  std::string key;
  std::optional<std::string> left;  // Empty where one side does not have the key.
  std::optional<std::string> right;

  bool operator==(const ConfigDifference&) const = default;
};

// The keys in which two configurations differ, in the canonical order of the left one, then those
// that only the right one has.
std::vector<ConfigDifference> Differences(const ClusterConfig& left, const ClusterConfig& right);

}  // namespace sparkspan::engine::config
