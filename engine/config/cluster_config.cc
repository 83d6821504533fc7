#include "engine/config/cluster_config.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/hash.h"
#include "engine/base/log.h"

namespace sparkspan::engine::config {
namespace {

class FieldList {
 public:
  void Put(std::string key, std::string_view value) {
    fields_.push_back({std::move(key), std::string(value)});
  }
  void Put(std::string key, std::int64_t value) { Put(std::move(key), std::to_string(value)); }
  void PutFlag(std::string key, bool value) { Put(std::move(key), value ? "true" : "false"); }

  void PutOptional(std::string key, const std::optional<std::int64_t>& value) {
    if (value.has_value()) {
      Put(std::move(key), *value);
    }
  }

  std::vector<ConfigField> Take() { return std::move(fields_); }

 private:
  std::vector<ConfigField> fields_;
};

void PutLimits(FieldList& fields, const std::string& prefix, const Limits& limits) {
  fields.Put(prefix + "context_length", limits.context_length);
  fields.Put(prefix + "sequences", limits.sequences);
  fields.Put(prefix + "step_rows", limits.step_rows);
  fields.PutOptional(prefix + "kv_memory", limits.kv_memory_bytes);
  fields.PutOptional(prefix + "kv_tokens", limits.kv_tokens);
  fields.Put(prefix + "waiting_requests", limits.waiting_requests);
  fields.Put(prefix + "memory_reserve", limits.memory_reserve_bytes);
}

void PutTls(FieldList& fields, const std::string& prefix, const Tls& tls) {
  fields.PutFlag(prefix + "plaintext", tls.plaintext);
  fields.Put(prefix + "authority", tls.authority);
  fields.Put(prefix + "certificate", tls.certificate);
  fields.Put(prefix + "key", tls.key);
}

void PutApi(FieldList& fields, const Api& api) {
  fields.Put("api.address", api.address);
  fields.Put("api.port", api.port);
  fields.Put("api.keys_file", api.keys_file);
  PutTls(fields, "api.tls.", api.tls);
  fields.PutFlag("api.accept_any_model_name", api.accept_any_model_name);
  fields.PutOptional("api.max_tokens_cap", api.max_tokens_cap);
  fields.Put("api.reasoning_field", ToString(api.reasoning_field));
  fields.PutFlag("api.response_format_in_prompt", api.response_format_in_prompt);
  for (std::size_t i = 0; i < api.allowed_origins.size(); ++i) {
    fields.Put(absl::StrFormat("api.allowed_origins[%d]", i), api.allowed_origins[i]);
  }
  fields.Put("api.keep_alive_ms", api.keep_alive_ms);
  fields.Put("api.body_bytes_max", api.body_bytes_max);
}

void PutPin(FieldList& fields, const std::string& prefix, const fabric::DeclaredPin& pin) {
  fields.Put(prefix + "interface", pin.interface);
  fields.Put(prefix + "address", fabric::ToString(pin.address));
}

void PutNode(FieldList& fields, const std::string& prefix, const NodeConfig& node) {
  fields.Put(prefix + "name", node.name);
  PutPin(fields, prefix + "control.", node.control);
  PutPin(fields, prefix + "bootstrap.", node.bootstrap);
  if (!node.ranks.empty()) {
    fields.Put(prefix + "data", ToString(node.data));
  }
  for (std::size_t i = 0; i < node.rails.size(); ++i) {
    fields.Put(absl::StrFormat("%sdata[%d]", prefix, i), node.rails[i]);
  }
  fields.Put(prefix + "model_path", node.model_path);
  for (std::size_t i = 0; i < node.ranks.size(); ++i) {
    const RankConfig& rank = node.ranks[i];
    const std::string at = absl::StrFormat("%sranks[%d].", prefix, i);
    fields.Put(at + "rank", rank.rank.value());
    if (rank.device.kind == DeviceKind::kCpu) {
      fields.Put(at + "device.cpu_threads", rank.device.cpu_threads);
    } else {
      fields.Put(at + "device.cuda", rank.device.cuda_index);
    }
    fields.Put(at + "control_port", rank.control_port);
    fields.Put(at + "data_port", rank.data_port);
  }
}

// [ranks], by a function of the node and the rank on it.
template <typename Function>
std::vector<fabric::Endpoint> ByRank(const ClusterConfig& config, Function endpoint) {
  std::vector<fabric::Endpoint> endpoints(static_cast<std::size_t>(config.ranks()));
  for (const NodeConfig& node : config.nodes) {
    for (const RankConfig& rank : node.ranks) {
      endpoints.at(static_cast<std::size_t>(rank.rank.value())) = endpoint(node, rank);
    }
  }
  return endpoints;
}

std::optional<std::string> ValueOf(const std::vector<ConfigField>& fields, const std::string& key) {
  const auto found = std::find_if(
      fields.begin(), fields.end(), [&](const ConfigField& field) { return field.key == key; });
  return found == fields.end() ? std::nullopt : std::optional(found->value);
}

}  // namespace

const Limits& ClusterConfig::EffectiveLimits() const {
  return profile.empty() ? limits : profiles.at(profile);
}

int ClusterConfig::ranks() const {
  std::size_t count = 0;
  for (const NodeConfig& node : nodes) {
    count += node.ranks.size();
  }
  return static_cast<int>(count);
}

std::string_view ToString(Numerics value) {
  return value == Numerics::kQuantised ? "quantised" : "unquantised";
}

std::string_view ToString(Experts value) {
  return value == Experts::kSplit ? "split" : "whole";
}

std::string_view ToString(EncodingProfile value) {
  switch (value) {
    case EncodingProfile::kAuto:
      return "auto";
    case EncodingProfile::kPreview:
      return "preview";
    case EncodingProfile::k0731:
      return "0731";
  }
  return "?";
}

std::string_view ToString(ReasoningField value) {
  switch (value) {
    case ReasoningField::kBoth:
      return "both";
    case ReasoningField::kReasoningContent:
      return "reasoning_content";
    case ReasoningField::kReasoning:
      return "reasoning";
    case ReasoningField::kNone:
      return "none";
  }
  return "?";
}

std::string_view ToString(Draft value) {
  switch (value) {
    case Draft::kAuto:
      return "auto";
    case Draft::kNone:
      return "none";
    case Draft::kDspark:
      return "dspark";
    case Draft::kMtp:
      return "mtp";
  }
  return "?";
}

std::string_view ToString(Verification value) {
  switch (value) {
    case Verification::kHardware:
      return "hardware";
    case Verification::kFixed:
      return "fixed";
    case Verification::kThreshold:
      return "threshold";
    case Verification::kNone:
      return "none";
  }
  return "?";
}

std::string_view ToString(DataTransport value) {
  switch (value) {
    case DataTransport::kRails:
      return "rails";
    case DataTransport::kTcp:
      return "tcp";
    case DataTransport::kLocal:
      return "local";
  }
  return "?";
}

std::vector<fabric::Endpoint> DataEndpoints(const ClusterConfig& config) {
  return ByRank(config, [](const NodeConfig& node, const RankConfig& rank) {
    return fabric::Endpoint{node.bootstrap.address, rank.data_port};
  });
}

std::vector<fabric::Endpoint> ControlEndpoints(const ClusterConfig& config) {
  return ByRank(config, [](const NodeConfig& node, const RankConfig& rank) {
    return fabric::Endpoint{node.control.address, rank.control_port};
  });
}

const NodeConfig& NodeOf(const ClusterConfig& config, Rank rank) {
  for (const NodeConfig& node : config.nodes) {
    for (const RankConfig& one : node.ranks) {
      if (one.rank == rank) {
        return node;
      }
    }
  }
  LOG(FATAL) << "no node holds rank " << rank;
  return config.nodes.front();
}

std::vector<ConfigField> Fields(const ClusterConfig& config) {
  FieldList fields;
  fields.Put("version", kConfigVersion);
  fields.Put("cluster", config.cluster);
  fields.Put("head", config.head);
  fields.Put("model.path", config.model.path);
  for (std::size_t i = 0; i < config.model.served_names.size(); ++i) {
    fields.Put(absl::StrFormat("model.served_names[%d]", i), config.model.served_names[i]);
  }
  fields.Put("model.encoding_profile", ToString(config.model.encoding_profile));
  fields.Put("model.default_thinking", config.model.default_thinking);
  fields.Put("numerics", ToString(config.numerics));
  fields.Put("experts", ToString(config.experts));
  fields.Put("draft", ToString(config.draft));
  fields.Put("verification", ToString(config.verification));
  fields.Put("verification_threshold_percent", config.verification_threshold_percent);
  PutLimits(fields, "limits.", config.limits);
  for (const auto& [name, limits] : config.profiles) {
    PutLimits(fields, "profiles." + name + ".", limits);
  }
  fields.Put("profile", config.profile);
  PutApi(fields, config.api);
  PutTls(fields, "control_tls.", config.control_tls);
  fields.Put("timeouts.heartbeat_ms", config.timeouts.heartbeat_ms);
  fields.Put("timeouts.silence_ms", config.timeouts.silence_ms);
  fields.Put("timeouts.step_ms", config.timeouts.step_ms);
  fields.Put("timeouts.start_ms", config.timeouts.start_ms);
  fields.Put("timeouts.queue_ms", config.timeouts.queue_ms);
  fields.PutFlag("allow_env_overrides", config.allow_env_overrides);
  for (std::size_t i = 0; i < config.nodes.size(); ++i) {
    PutNode(fields, absl::StrFormat("nodes[%d].", i), config.nodes[i]);
  }
  for (std::size_t i = 0; i < config.links.size(); ++i) {
    const Link& link = config.links[i];
    fields.Put(absl::StrFormat("links[%d].from", i), link.from.node + " " + link.from.rail);
    fields.Put(absl::StrFormat("links[%d].to", i), link.to.node + " " + link.to.rail);
  }
  return fields.Take();
}

std::uint64_t Hash(const ClusterConfig& config) {
  std::string canonical;
  for (const ConfigField& field : Fields(config)) {
    // With their lengths, so that no value can pass for another key.
    canonical += absl::StrFormat(
        "%d %s %d %s\n", field.key.size(), field.key, field.value.size(), field.value);
  }
  return Hash64(canonical);
}

std::vector<ConfigDifference> Differences(const ClusterConfig& left, const ClusterConfig& right) {
  const std::vector<ConfigField> left_fields = Fields(left);
  const std::vector<ConfigField> right_fields = Fields(right);
  std::vector<ConfigDifference> differences;
  for (const ConfigField& field : left_fields) {
    std::optional<std::string> other = ValueOf(right_fields, field.key);
    if (other != field.value) {
      differences.push_back({field.key, field.value, std::move(other)});
    }
  }
  for (const ConfigField& field : right_fields) {
    if (!ValueOf(left_fields, field.key).has_value()) {
      differences.push_back({field.key, std::nullopt, field.value});
    }
  }
  return differences;
}

}  // namespace sparkspan::engine::config
