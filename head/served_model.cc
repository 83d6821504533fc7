#include "head/served_model.h"

#include <ctime>
#include <fstream>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace sparkspan::head {
namespace {

absl::StatusOr<api::ThinkingMode> ThinkingOf(const std::string& text) {
  if (text == "on" || text == "off") {
    return api::ThinkingMode{.on = text == "on", .effort = std::nullopt};
  }
  const auto effort = api::ReasoningEffortOf(text);
  if (!effort.has_value()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "model.default_thinking: %s is not on, off, minimal, low, medium, high, xhigh or max",
        text));
  }
  return api::ThinkingMode{.on = true, .effort = effort};
}

}  // namespace

absl::StatusOr<api::ServedModel> MakeServedModel(const engine::config::ClusterConfig& config,
                                                 const engine::weights::Checkpoint& checkpoint) {
  const engine::weights::GenerationDefaults& defaults = checkpoint.generation();
  const std::int64_t context_length = config.EffectiveLimits().context_length;
  if (context_length > defaults.context_tokens_max) {
    return absl::InvalidArgumentError(
        absl::StrFormat("limits.context_length: %d, but the checkpoint was made for at most %d "
                        "tokens",
                        context_length,
                        defaults.context_tokens_max));
  }
  api::ServedModel model;
  model.names = config.model.served_names;
  model.root = config.model.path;
  model.created_unix_seconds = std::time(nullptr);
  model.context_length = context_length;
  model.vocabulary_size = static_cast<std::int32_t>(checkpoint.shape().vocabulary);
  for (const std::int64_t id : defaults.eos_ids) {
    model.eos_token_ids.push_back(static_cast<engine::Token>(id));
  }
  model.default_temperature = defaults.sample ? static_cast<float>(defaults.temperature) : 0.0f;
  model.default_top_p = static_cast<float>(defaults.top_p);
  model.accept_any_name = config.api.accept_any_model_name;
  model.max_tokens_cap = config.api.max_tokens_cap;
  using engine::config::ReasoningField;
  const ReasoningField field = config.api.reasoning_field;
  model.send_reasoning_content =
      field == ReasoningField::kBoth || field == ReasoningField::kReasoningContent;
  model.send_reasoning = field == ReasoningField::kBoth || field == ReasoningField::kReasoning;
  model.format_in_prompt = config.api.response_format_in_prompt;
  ASSIGN_OR_RETURN(model.default_thinking, ThinkingOf(config.model.default_thinking));
  return model;
}

absl::StatusOr<std::vector<std::string>> ReadApiKeys(const std::string& file) {
  std::vector<std::string> keys;
  if (file.empty()) {
    return keys;
  }
  std::ifstream stream(file);
  if (!stream) {
    return absl::NotFoundError(absl::StrFormat("api.keys_file: %s cannot be read", file));
  }
  for (std::string line; std::getline(stream, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) {
      line.pop_back();
    }
    if (!line.empty() && line.front() != '#') {
      keys.push_back(line);
    }
  }
  if (keys.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "api.keys_file: %s has no key: write one a line, or leave the setting out to ask for none",
        file));
  }
  return keys;
}

}  // namespace sparkspan::head
