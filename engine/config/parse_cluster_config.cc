#include "engine/config/parse_cluster_config.h"

#include <net/if.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/config/check_cluster_config.h"
#include "engine/config/yaml_reader.h"
#include "engine/config/yaml_tree.h"
#include "engine/fabric/address.h"

namespace sparkspan::engine::config {
namespace {

template <std::size_t kCount>
using Keys = std::array<std::string_view, kCount>;

constexpr std::int64_t kPortMax = 65535;
constexpr std::size_t kNodesMax = 64;
constexpr std::size_t kRailsMax = 32;  // NCCL takes no more devices.
constexpr std::size_t kLinksMax = 1024;
constexpr std::size_t kServedNamesMax = 64;
constexpr std::size_t kOriginsMax = 64;
constexpr std::int64_t kBodyBytesMax = std::int64_t{1} << 30;
constexpr std::int64_t kMillisecondsMax = 24 * 3600 * 1000;

constexpr std::string_view kNameRule = "a name of 1 to 64 letters, digits, '-', '_' and '.'";

bool IsName(std::string_view text) {
  constexpr std::size_t kNameBytesMax = 64;
  return !text.empty() && text.size() <= kNameBytesMax &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
         });
}

std::string Name(YamlReader& reader, std::string_view key) {
  std::string name = reader.Text(key);
  const YamlNode* node = reader.Find(key);
  if (node != nullptr && !IsName(name)) {
    reader.Fail(key, *node, kNameRule);
  }
  return name;
}

// Whether the kernel could give an interface or an RDMA device this name.
bool IsDeviceName(const std::string& name, std::size_t bytes_max) {
  return !name.empty() && name.size() <= bytes_max && name != "." && name != ".." &&
         name.find_first_of("/ \t=^,*") == std::string::npos;
}

fabric::DeclaredPin ReadPin(YamlFaults& faults, const YamlNode& node, const std::string& path) {
  constexpr Keys<2> kKeys = {"interface", "address"};
  YamlReader reader(faults, node, path, kKeys);
  fabric::DeclaredPin pin;
  pin.interface = reader.Text("interface");
  const YamlNode* name = reader.Find("interface");
  if (name != nullptr && !IsDeviceName(pin.interface, IFNAMSIZ - 1)) {
    reader.Fail("interface", *name, "the exact name of one interface, no pattern and no list");
  }
  pin.address = reader.Address("address");
  return pin;
}

Device ReadDevice(YamlFaults& faults, const YamlNode& node, const std::string& path) {
  constexpr Keys<2> kKeys = {"cpu_threads", "cuda"};
  YamlReader reader(faults, node, path, kKeys);
  Device device;
  if (reader.Has("cpu_threads") == reader.Has("cuda")) {
    faults.Fail(node.line, path, "found neither or both of cpu_threads and cuda; expected one");
  } else if (reader.Has("cuda")) {
    device.kind = DeviceKind::kCuda;
    device.cuda_index = static_cast<std::int32_t>(reader.Integer("cuda", 0, 63));
  } else {
    device.cpu_threads =
        static_cast<std::int32_t>(reader.Integer("cpu_threads", 1, kCpuThreadsMax));
  }
  return device;
}

RankConfig ReadRank(YamlFaults& faults, const YamlNode& node, const std::string& path) {
  constexpr Keys<4> kKeys = {"rank", "device", "control_port", "data_port"};
  YamlReader reader(faults, node, path, kKeys);
  RankConfig rank;
  rank.rank = Rank(static_cast<std::int32_t>(reader.Integer("rank", 0, 63)));
  if (const YamlNode* device = reader.Required("device"); device != nullptr) {
    rank.device = ReadDevice(faults, *device, reader.Path("device"));
  }
  rank.control_port = static_cast<std::uint16_t>(reader.Integer("control_port", 1, kPortMax));
  rank.data_port = static_cast<std::uint16_t>(reader.Integer("data_port", 1, kPortMax));
  return rank;
}

void ReadData(YamlFaults& faults, YamlReader& reader, NodeConfig& node) {
  const YamlNode* data = node.ranks.empty() ? reader.Find("data") : reader.Required("data");
  if (data == nullptr) {
    return;
  }
  if (data->kind == YamlNode::Kind::kSequence) {
    node.data = DataTransport::kRails;
    node.rails = reader.Texts("data", kRailsMax);
    for (std::size_t i = 0; i < node.rails.size(); ++i) {
      constexpr std::size_t kDeviceBytesMax = 63;  // IB_DEVICE_NAME_MAX - 1, longer than a netdev's
      if (!IsDeviceName(node.rails[i], kDeviceBytesMax)) {
        faults.FailAt(absl::StrFormat("%s[%d]", reader.Path("data"), i),
                      absl::StrFormat("found '%s'; expected the exact name of a netdev or an RDMA "
                                      "device",
                                      node.rails[i]));
      }
    }
  } else if (data->kind == YamlNode::Kind::kScalar && data->scalar == "tcp") {
    node.data = DataTransport::kTcp;
  } else if (data->kind == YamlNode::Kind::kScalar && data->scalar == "local") {
    node.data = DataTransport::kLocal;
  } else {
    reader.Fail("data", *data, "a list of rails, or tcp, or local");
  }
}

NodeConfig ReadNode(YamlFaults& faults, const YamlNode& yaml, const std::string& path) {
  constexpr Keys<6> kKeys = {"name", "control", "bootstrap", "data", "ranks", "model_path"};
  YamlReader reader(faults, yaml, path, kKeys);
  NodeConfig node;
  node.name = Name(reader, "name");
  if (const YamlNode* control = reader.Required("control"); control != nullptr) {
    node.control = ReadPin(faults, *control, reader.Path("control"));
  }
  const YamlNode* bootstrap = reader.Find("bootstrap");
  node.bootstrap =
      bootstrap == nullptr ? node.control : ReadPin(faults, *bootstrap, reader.Path("bootstrap"));
  reader.ForEach("ranks", kNodesMax, [&](const YamlNode& item, const std::string& key) {
    node.ranks.push_back(ReadRank(faults, item, key));
  });
  ReadData(faults, reader, node);
  node.model_path = reader.Text("model_path", "");
  return node;
}

Link::End ReadLinkEnd(YamlFaults& faults, const YamlNode& node, const std::string& path) {
  constexpr Keys<2> kKeys = {"node", "rail"};
  YamlReader reader(faults, node, path, kKeys);
  return {reader.Text("node"), reader.Text("rail")};
}

Link ReadLink(YamlFaults& faults, const YamlNode& node, const std::string& path) {
  constexpr Keys<2> kKeys = {"from", "to"};
  YamlReader reader(faults, node, path, kKeys);
  Link link;
  for (const auto& [key, end] : {std::pair("from", &link.from), std::pair("to", &link.to)}) {
    if (const YamlNode* value = reader.Required(key); value != nullptr) {
      *end = ReadLinkEnd(faults, *value, reader.Path(key));
    }
  }
  return link;
}

// `base` with what the map gives in place of it.
Limits ReadLimits(YamlFaults& faults,
                  const YamlNode& node,
                  const std::string& path,
                  const Limits& base) {
  constexpr Keys<7> kKeys = {"context_length",
                             "sequences",
                             "step_rows",
                             "kv_memory",
                             "kv_tokens",
                             "waiting_requests",
                             "memory_reserve"};
  YamlReader reader(faults, node, path, kKeys);
  Limits limits = base;
  limits.context_length = reader.Integer("context_length", 1, 1 << 24, base.context_length);
  limits.sequences = reader.Integer("sequences", 1, 4096, base.sequences);
  limits.step_rows = reader.Integer("step_rows", 1, 1 << 20, base.step_rows);
  limits.waiting_requests = reader.Integer("waiting_requests", 0, 1 << 20, base.waiting_requests);
  limits.memory_reserve_bytes = reader.Bytes("memory_reserve", base.memory_reserve_bytes);
  // Either replaces both of the base.
  if (reader.Has("kv_memory") || reader.Has("kv_tokens")) {
    limits.kv_memory_bytes.reset();
    limits.kv_tokens.reset();
  }
  if (reader.Has("kv_memory")) {
    limits.kv_memory_bytes = reader.Bytes("kv_memory", 0);
  }
  if (reader.Has("kv_tokens")) {
    limits.kv_tokens = reader.Integer("kv_tokens", 1, std::int64_t{1} << 40);
  }
  return limits;
}

// Plaintext is never a default: somebody has to write it.
Tls ReadTls(YamlFaults& faults, YamlReader& parent, std::string_view key, bool with_authority) {
  constexpr Keys<4> kKeys = {"plaintext", "certificate", "key", "authority"};
  Tls tls;
  const YamlNode* node = parent.Required(key);
  if (node == nullptr) {
    return tls;
  }
  YamlReader reader(
      faults, *node, parent.Path(key), std::span(kKeys).first(with_authority ? 4 : 3));
  tls.plaintext = reader.Flag("plaintext", false);
  if (!tls.plaintext) {
    tls.certificate = reader.Text("certificate");
    tls.key = reader.Text("key");
    tls.authority = with_authority ? reader.Text("authority") : "";
  } else if (reader.Has("certificate") || reader.Has("key") || reader.Has("authority")) {
    faults.Fail(node->line,
                parent.Path(key),
                "found plaintext: true beside files; expected one of the two");
  }
  return tls;
}

// What a browser sends as Origin, or "*" for any.
bool IsOrigin(std::string_view text) {
  const std::size_t scheme = text.find("://");
  return text == "*" || (scheme != 0 && scheme != std::string_view::npos &&
                         text.find_first_of("/ ,*", scheme + 3) == std::string_view::npos &&
                         scheme + 3 < text.size());
}

void ReadOrigins(YamlFaults& faults, YamlReader& reader, Api& api) {
  if (!reader.Has("allowed_origins")) {
    return;
  }
  api.allowed_origins = reader.Texts("allowed_origins", kOriginsMax);
  for (std::size_t i = 0; i < api.allowed_origins.size(); ++i) {
    if (!IsOrigin(api.allowed_origins[i])) {
      faults.FailAt(absl::StrFormat("%s[%d]", reader.Path("allowed_origins"), i),
                    absl::StrFormat("found '%s'; expected an origin such as https://host:port, or "
                                    "\"*\" for any",
                                    api.allowed_origins[i]));
    }
  }
}

Api ReadApi(YamlFaults& faults, const YamlNode& node) {
  constexpr Keys<11> kKeys = {"address",
                              "port",
                              "keys_file",
                              "tls",
                              "accept_any_model_name",
                              "max_tokens_cap",
                              "reasoning_field",
                              "response_format_in_prompt",
                              "allowed_origins",
                              "keep_alive_ms",
                              "body_bytes_max"};
  YamlReader reader(faults, node, "api", kKeys);
  Api api;
  api.address = reader.Text("address");
  const YamlNode* address = reader.Find("address");
  if (address != nullptr && !fabric::IsNumericAddress(api.address)) {
    reader.Fail("address", *address, "a numeric IPv4 or IPv6 address to listen on");
  }
  api.port = static_cast<std::uint16_t>(reader.Integer("port", 1, kPortMax, api.port));
  api.keys_file = reader.Text("keys_file", "");
  api.tls = ReadTls(faults, reader, "tls", false);
  api.accept_any_model_name = reader.Flag("accept_any_model_name", false);
  if (reader.Has("max_tokens_cap")) {
    api.max_tokens_cap = reader.Integer("max_tokens_cap", 1, 1 << 24);
  }
  api.reasoning_field = reader.Choice("reasoning_field",
                                      {ReasoningField::kBoth,
                                       ReasoningField::kReasoningContent,
                                       ReasoningField::kReasoning,
                                       ReasoningField::kNone});
  api.response_format_in_prompt = reader.Flag("response_format_in_prompt", true);
  ReadOrigins(faults, reader, api);
  api.keep_alive_ms = reader.Integer("keep_alive_ms", 0, kMillisecondsMax, api.keep_alive_ms);
  api.body_bytes_max = reader.Bytes("body_bytes_max", api.body_bytes_max);
  if (const YamlNode* body = reader.Find("body_bytes_max");
      body != nullptr && (api.body_bytes_max < 1 || api.body_bytes_max > kBodyBytesMax)) {
    reader.Fail("body_bytes_max", *body, "1 byte to 1GiB");
  }
  return api;
}

Model ReadModel(YamlFaults& faults, const YamlNode& node) {
  constexpr Keys<4> kKeys = {"path", "served_names", "encoding_profile", "default_thinking"};
  YamlReader reader(faults, node, "model", kKeys);
  Model model;
  model.path = reader.Text("path");
  model.served_names = reader.Texts("served_names", kServedNamesMax);
  model.encoding_profile =
      reader.Choice("encoding_profile",
                    {EncodingProfile::kAuto, EncodingProfile::kPreview, EncodingProfile::k0731});
  model.default_thinking = reader.Choice<std::string_view>(
      "default_thinking", {"on", "off", "minimal", "low", "medium", "high", "xhigh", "max"});
  return model;
}

Timeouts ReadTimeouts(YamlFaults& faults, const YamlNode& node) {
  constexpr Keys<5> kKeys = {"heartbeat_ms", "silence_ms", "step_ms", "start_ms", "queue_ms"};
  YamlReader reader(faults, node, "timeouts", kKeys);
  Timeouts timeouts;
  timeouts.heartbeat_ms =
      reader.Integer("heartbeat_ms", 50, kMillisecondsMax, timeouts.heartbeat_ms);
  timeouts.silence_ms = reader.Integer("silence_ms", 150, kMillisecondsMax, timeouts.silence_ms);
  timeouts.step_ms = reader.Integer("step_ms", 100, kMillisecondsMax, timeouts.step_ms);
  timeouts.start_ms = reader.Integer("start_ms", 100, kMillisecondsMax, timeouts.start_ms);
  timeouts.queue_ms = reader.Integer("queue_ms", 100, kMillisecondsMax, timeouts.queue_ms);
  return timeouts;
}

ClusterConfig ReadConfig(YamlFaults& faults, const YamlNode& root) {
  constexpr Keys<18> kKeys = {"version",
                              "cluster",
                              "head",
                              "model",
                              "numerics",
                              "experts",
                              "draft",
                              "verification",
                              "verification_threshold_percent",
                              "limits",
                              "profiles",
                              "profile",
                              "api",
                              "control_tls",
                              "timeouts",
                              "allow_env_overrides",
                              "nodes",
                              "links"};
  YamlReader reader(faults, root, "", kKeys);
  ClusterConfig config;
  reader.Integer("version", kConfigVersion, kConfigVersion);
  config.cluster = Name(reader, "cluster");
  config.head = reader.Text("head");
  if (const YamlNode* model = reader.Required("model"); model != nullptr) {
    config.model = ReadModel(faults, *model);
  }
  config.numerics = reader.Choice("numerics", {Numerics::kQuantised, Numerics::kUnquantised});
  config.experts = reader.Choice("experts", {Experts::kSplit, Experts::kWhole});
  config.draft = reader.Choice("draft", {Draft::kAuto, Draft::kNone, Draft::kDspark, Draft::kMtp});
  config.verification = reader.Choice("verification",
                                      {Verification::kHardware,
                                       Verification::kFixed,
                                       Verification::kThreshold,
                                       Verification::kNone});
  config.verification_threshold_percent = reader.Integer(
      "verification_threshold_percent", 0, 100, config.verification_threshold_percent);
  if (const YamlNode* limits = reader.Find("limits"); limits != nullptr) {
    config.limits = ReadLimits(faults, *limits, "limits", config.limits);
  }
  reader.ForEachEntry(
      "profiles", [&](const std::string& name, const YamlNode& limits, const std::string& key) {
        if (!IsName(name)) {
          faults.Fail(
              limits.line, "profiles", absl::StrFormat("found '%s'; expected %s", name, kNameRule));
        }
        config.profiles.emplace(name, ReadLimits(faults, limits, key, config.limits));
      });
  config.profile = reader.Text("profile", "");
  if (const YamlNode* api = reader.Required("api"); api != nullptr) {
    config.api = ReadApi(faults, *api);
  }
  config.control_tls = ReadTls(faults, reader, "control_tls", true);
  if (const YamlNode* timeouts = reader.Find("timeouts"); timeouts != nullptr) {
    config.timeouts = ReadTimeouts(faults, *timeouts);
  }
  config.allow_env_overrides = reader.Flag("allow_env_overrides", false);
  reader.Required("nodes");
  reader.ForEach("nodes", kNodesMax, [&](const YamlNode& item, const std::string& key) {
    config.nodes.push_back(ReadNode(faults, item, key));
  });
  reader.ForEach("links", kLinksMax, [&](const YamlNode& item, const std::string& key) {
    config.links.push_back(ReadLink(faults, item, key));
  });
  return config;
}

}  // namespace

absl::StatusOr<ClusterConfig> ParseClusterConfig(std::string_view text, std::string_view file) {
  ASSIGN_OR_RETURN(const YamlNode root, ParseYaml(text, file));
  YamlFaults faults(file);
  ClusterConfig config = ReadConfig(faults, root);
  RETURN_IF_ERROR(faults.status());
  if (const std::optional<ConfigFault> fault = FindFault(config); fault.has_value()) {
    faults.FailAt(fault->key, fault->what);
    return faults.status();
  }
  return config;
}

absl::StatusOr<ClusterConfig> ReadClusterConfig(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    return absl::NotFoundError(absl::StrFormat("cannot read %s: %s", file, std::strerror(errno)));
  }
  // One byte more than allowed, so that ParseYaml sees what is too long.
  std::string text(kYamlBytesMax + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return ParseClusterConfig(text, file);
}

}  // namespace sparkspan::engine::config
