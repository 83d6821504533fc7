#include "engine/config/write_cluster_config.h"

#include <string_view>

#include "absl/strings/str_format.h"

namespace sparkspan::engine::config {
namespace {

// Always in double quotes, so that no text is taken for another type.
std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
    }
    quoted += c;
  }
  return quoted + '"';
}

std::string_view BoolText(bool value) {
  return value ? "true" : "false";
}

std::string PinText(const fabric::DeclaredPin& pin) {
  return absl::StrFormat(
      "{interface: %s, address: %s}", Quoted(pin.interface), fabric::ToString(pin.address));
}

std::string List(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) {
    list += (list.empty() ? "" : ", ") + Quoted(text);
  }
  return "[" + list + "]";
}

// In one line, as a value.
std::string LimitsText(const Limits& limits) {
  std::string text = absl::StrFormat("{context_length: %d, sequences: %d, step_rows: %d",
                                     limits.context_length,
                                     limits.sequences,
                                     limits.step_rows);
  if (limits.kv_memory_bytes.has_value()) {
    text += absl::StrFormat(", kv_memory: %d", *limits.kv_memory_bytes);
  }
  if (limits.kv_tokens.has_value()) {
    text += absl::StrFormat(", kv_tokens: %d", *limits.kv_tokens);
  }
  return text + absl::StrFormat(", waiting_requests: %d, memory_reserve: %d}",
                                limits.waiting_requests,
                                limits.memory_reserve_bytes);
}

std::string TlsText(const Tls& tls) {
  if (tls.plaintext) {
    return "{plaintext: true}";
  }
  std::string text =
      absl::StrFormat("{certificate: %s, key: %s", Quoted(tls.certificate), Quoted(tls.key));
  if (!tls.authority.empty()) {
    text += ", authority: " + Quoted(tls.authority);
  }
  return text + "}";
}

std::string NodeText(const NodeConfig& node) {
  std::string text = absl::StrFormat("  - name: %s\n    control: %s\n    bootstrap: %s\n",
                                     Quoted(node.name),
                                     PinText(node.control),
                                     PinText(node.bootstrap));
  if (!node.model_path.empty()) {
    text += absl::StrFormat("    model_path: %s\n", Quoted(node.model_path));
  }
  text += absl::StrFormat(
      "    data: %s\n",
      node.data == DataTransport::kRails ? List(node.rails) : std::string(ToString(node.data)));
  text += node.ranks.empty() ? "    ranks: []\n" : "    ranks:\n";
  for (const RankConfig& rank : node.ranks) {
    const std::string device = rank.device.kind == DeviceKind::kCpu
                                   ? absl::StrFormat("{cpu_threads: %d}", rank.device.cpu_threads)
                                   : absl::StrFormat("{cuda: %d}", rank.device.cuda_index);
    text += absl::StrFormat("      - {rank: %d, device: %s, control_port: %d, data_port: %d}\n",
                            rank.rank.value(),
                            device,
                            rank.control_port,
                            rank.data_port);
  }
  return text;
}

std::string EndText(const Link::End& end) {
  return absl::StrFormat("{node: %s, rail: %s}", Quoted(end.node), Quoted(end.rail));
}

std::string ApiText(const Api& api) {
  std::string text =
      absl::StrFormat("api:\n  address: %s\n  port: %d\n", Quoted(api.address), api.port);
  if (!api.keys_file.empty()) {
    text += absl::StrFormat("  keys_file: %s\n", Quoted(api.keys_file));
  }
  text += absl::StrFormat("  tls: %s\n", TlsText(api.tls));
  text += absl::StrFormat("  accept_any_model_name: %s\n", BoolText(api.accept_any_model_name));
  if (api.max_tokens_cap.has_value()) {
    text += absl::StrFormat("  max_tokens_cap: %d\n", *api.max_tokens_cap);
  }
  return text + absl::StrFormat(
                    "  reasoning_field: %s\n  response_format_in_prompt: %s\n"
                    "  allowed_origins: %s\n  keep_alive_ms: %d\n  body_bytes_max: %d\n",
                    ToString(api.reasoning_field),
                    BoolText(api.response_format_in_prompt),
                    List(api.allowed_origins),
                    api.keep_alive_ms,
                    api.body_bytes_max);
}

}  // namespace

std::string ToYaml(const ClusterConfig& config) {
  std::string text = absl::StrFormat("version: %d\ncluster: %s\nhead: %s\n",
                                     kConfigVersion,
                                     Quoted(config.cluster),
                                     Quoted(config.head));
  text += absl::StrFormat(
      "model:\n  path: %s\n  served_names: %s\n  encoding_profile: %s\n  default_thinking: %s\n",
      Quoted(config.model.path),
      List(config.model.served_names),
      Quoted(ToString(config.model.encoding_profile)),
      Quoted(config.model.default_thinking));
  text += absl::StrFormat(
      "numerics: %s\nexperts: %s\ndraft: %s\nverification: %s\n"
      "verification_threshold_percent: %d\n",
      ToString(config.numerics),
      ToString(config.experts),
      ToString(config.draft),
      ToString(config.verification),
      config.verification_threshold_percent);
  text += absl::StrFormat("limits: %s\n", LimitsText(config.limits));
  if (!config.profiles.empty()) {
    text += "profiles:\n";
  }
  for (const auto& [name, limits] : config.profiles) {
    text += absl::StrFormat("  %s: %s\n", Quoted(name), LimitsText(limits));
  }
  if (!config.profile.empty()) {
    text += absl::StrFormat("profile: %s\n", Quoted(config.profile));
  }
  text += ApiText(config.api);
  text += absl::StrFormat("control_tls: %s\n", TlsText(config.control_tls));
  text += absl::StrFormat(
      "timeouts: {heartbeat_ms: %d, silence_ms: %d, step_ms: %d, start_ms: %d, queue_ms: %d}\n",
      config.timeouts.heartbeat_ms,
      config.timeouts.silence_ms,
      config.timeouts.step_ms,
      config.timeouts.start_ms,
      config.timeouts.queue_ms);
  text += absl::StrFormat("allow_env_overrides: %s\n", BoolText(config.allow_env_overrides));
  text += "nodes:\n";
  for (const NodeConfig& node : config.nodes) {
    text += NodeText(node);
  }
  if (!config.links.empty()) {
    text += "links:\n";
  }
  for (const Link& link : config.links) {
    text += absl::StrFormat("  - {from: %s, to: %s}\n", EndText(link.from), EndText(link.to));
  }
  return text;
}

}  // namespace sparkspan::engine::config
