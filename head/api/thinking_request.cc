#include <algorithm>
#include <array>
#include <cctype>
#include <limits>

#include "absl/strings/str_format.h"
#include "head/api/request_fields.h"

// Whether and how much to think: many clients, many spellings, one precedence.
namespace sparkspan::head::api {
namespace {

// What one place in the request says.
struct Word {
  std::optional<bool> on;
  std::optional<ReasoningEffort> effort;
};

std::string LowerCase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
    return static_cast<char>(std::tolower(c));
  });
  return text;
}

// A switch: a bool, or the strings "true" and "false", which templates and shells make of it.
std::optional<bool> ReadSwitch(FieldReader* fields,
                               const JsonValue& object,
                               std::string_view name,
                               const std::string& path) {
  const JsonValue* value = object.Find(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (value->boolean() != nullptr) {
    return *value->boolean();
  }
  const std::string text = value->string() != nullptr ? LowerCase(*value->string()) : "";
  if (text == "true" || text == "false") {
    return text == "true";
  }
  fields->Fail(InvalidValue(path, absl::StrFormat("'%s' must be a boolean.", path)));
  return std::nullopt;
}

Word ReadEffort(FieldReader* fields, const JsonValue* value, const std::string& path) {
  if (value == nullptr) {
    return {};
  }
  const std::string text = value->string() != nullptr ? LowerCase(*value->string()) : "?";
  constexpr std::array<std::string_view, 9> kOff = {
      "none", "off", "disabled", "no", "false", "nothink", "no_think", "non-think", "non_think"};
  if (std::find(kOff.begin(), kOff.end(), text) != kOff.end()) {
    return {.on = false, .effort = std::nullopt};
  }
  if (text == "auto" || text == "default") {
    return {};
  }
  if (const std::optional<ReasoningEffort> effort = ReasoningEffortOf(text)) {
    return {.on = true, .effort = effort};
  }
  fields->Fail(InvalidValue(
      path,
      absl::StrFormat("'%s' must be one of none, minimal, low, medium, high, xhigh, max.", path)));
  return {};
}

// Level 1: vLLM takes either key being true for on.
std::optional<bool> ReadTemplateSwitches(FieldReader* fields, const JsonValue& kwargs) {
  const auto thinking = ReadSwitch(fields, kwargs, "thinking", "chat_template_kwargs.thinking");
  const auto enabled =
      ReadSwitch(fields, kwargs, "enable_thinking", "chat_template_kwargs.enable_thinking");
  if (!thinking.has_value() && !enabled.has_value()) {
    return std::nullopt;
  }
  return thinking.value_or(false) || enabled.value_or(false);
}

// {"type": "enabled" | "disabled" | "adaptive"}, or a bool.
std::optional<bool> ReadThinkingField(FieldReader* fields, const JsonValue& root) {
  const JsonValue* value = root.Find("thinking");
  if (value == nullptr || value->object() == nullptr) {
    return ReadSwitch(fields, root, "thinking", "thinking");
  }
  const JsonValue* type = value->Find("type");
  const std::string text =
      type != nullptr && type->string() != nullptr ? LowerCase(*type->string()) : "";
  if (text == "enabled" || text == "enable" || text == "adaptive") {
    return true;
  }
  if (text == "disabled" || text == "disable") {
    return false;
  }
  fields->Fail(InvalidValue("thinking.type",
                            "'thinking.type' must be \"enabled\", \"disabled\" or \"adaptive\"."));
  return std::nullopt;
}

// Level 2: the first switch that is there speaks for the level.
Word ReadTopLevelSwitches(FieldReader* fields, const JsonValue& root) {
  Word word;
  word.on = ReadThinkingField(fields, root);
  for (const std::string_view name : {"enable_thinking", "think"}) {
    const std::optional<bool> value = ReadSwitch(fields, root, name, std::string(name));
    word.on = word.on.has_value() ? word.on : value;
  }
  const JsonValue* reasoning = root.Find("reasoning");
  if (reasoning != nullptr && reasoning->object() == nullptr) {
    fields->Fail(InvalidValue("reasoning", "'reasoning' must be an object."));
  } else if (reasoning != nullptr) {
    const auto enabled = ReadSwitch(fields, *reasoning, "enabled", "reasoning.enabled");
    word.on = word.on.has_value() ? word.on : enabled;
    const Word effort = ReadEffort(fields, reasoning->Find("effort"), "reasoning.effort");
    word.effort = effort.effort;
    if (!word.on.has_value() && effort.on == false) {
      word.on = false;
    }
  }
  return word;
}

}  // namespace

std::optional<ReasoningEffort> ReasoningEffortOf(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, ReasoningEffort>, 6> kEfforts = {
      {{"minimal", ReasoningEffort::kMinimal},
       {"low", ReasoningEffort::kLow},
       {"medium", ReasoningEffort::kMedium},
       {"high", ReasoningEffort::kHigh},
       {"xhigh", ReasoningEffort::kXhigh},
       {"max", ReasoningEffort::kMax}}};
  for (const auto& [known, effort] : kEfforts) {
    if (name == known) {
      return effort;
    }
  }
  return std::nullopt;
}

ThinkingMode ReadThinking(FieldReader* fields, const ServedModel& model) {
  const JsonValue& root = fields->root();
  const JsonValue no_kwargs;
  const JsonValue* found = fields->Object("chat_template_kwargs");
  const JsonValue& kwargs = found != nullptr ? *found : no_kwargs;

  const std::optional<bool> by_template = ReadTemplateSwitches(fields, kwargs);
  const Word by_switch = ReadTopLevelSwitches(fields, root);
  const Word by_effort = ReadEffort(fields, root.Find("reasoning_effort"), "reasoning_effort");
  const Word by_template_effort =
      ReadEffort(fields, kwargs.Find("reasoning_effort"), "chat_template_kwargs.reasoning_effort");
  const auto budget =
      fields->Integer("thinking_token_budget", 0, std::numeric_limits<std::int64_t>::max());
  if (budget.has_value() && *budget > 0) {
    fields->Fail(Unsupported("thinking_token_budget",
                             "'thinking_token_budget' is not supported by this server; use "
                             "'reasoning_effort' or 'max_tokens'."));
  }

  const Word effort = by_effort.on.has_value()            ? by_effort
                      : by_template_effort.on.has_value() ? by_template_effort
                      : by_switch.effort.has_value()      ? Word{true, by_switch.effort}
                                                          : Word{};
  const std::optional<bool> by_any_switch = by_template.has_value() ? by_template : by_switch.on;
  // An explicit off wins over any effort, and effort "none" over an explicit on.
  if (by_any_switch == false || effort.on == false || budget == 0) {
    return {.on = false, .effort = std::nullopt};
  }
  if (effort.on == true) {
    return {.on = true, .effort = effort.effort};
  }
  if (by_any_switch == true) {
    return {.on = true,
            .effort = model.default_thinking.on ? model.default_thinking.effort : std::nullopt};
  }
  return model.default_thinking;
}

}  // namespace sparkspan::head::api
