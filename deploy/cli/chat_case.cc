#include "deploy/cli/chat_case.h"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/text/chat.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::text::ChatCall;
using engine::text::ChatFormat;
using engine::text::ChatMessage;
using engine::text::EncodedEffort;
using engine::text::EncodingProfile;
using engine::text::JsonValue;
using Role = ChatMessage::Role;

std::string StringOf(const JsonValue& object, std::string_view name) {
  const JsonValue* value = object.Find(name);
  return value != nullptr && value->string() != nullptr ? *value->string() : "";
}

bool BoolOf(const JsonValue& object, std::string_view name, bool otherwise) {
  const JsonValue* value = object.Find(name);
  return value != nullptr && value->boolean() != nullptr ? *value->boolean() : otherwise;
}

// A string, or parts joined by a blank line; what is no text is named in its place.
std::string ContentOf(const JsonValue& message) {
  const JsonValue* content = message.Find("content");
  if (content == nullptr || content->array() == nullptr) {
    return StringOf(message, "content");
  }
  std::string text;
  std::string_view separator;
  for (const JsonValue& part : *content->array()) {
    const std::string type = StringOf(part, "type");
    const bool is_text = type == "text" || type == "input_text" || type == "output_text";
    text += separator;
    text += is_text ? StringOf(part, "text") : absl::StrFormat("[Unsupported %s]", type);
    separator = "\n\n";
  }
  return text;
}

ChatCall CallOf(const JsonValue& value) {
  ChatCall call;
  call.id = StringOf(value, "id");
  if (const JsonValue* function = value.Find("function")) {
    call.name = StringOf(*function, "name");
    const JsonValue* arguments = function->Find("arguments");
    if (arguments != nullptr) {
      call.arguments = arguments->string() != nullptr ? *arguments->string() : arguments->ToText();
    }
  }
  return call;
}

std::vector<std::string> FunctionsOf(const JsonValue& object) {
  std::vector<std::string> functions;
  const JsonValue* tools = object.Find("tools");
  for (std::size_t i = 0; tools != nullptr && tools->array() && i < tools->array()->size(); ++i) {
    const JsonValue* function = (*tools->array())[i].Find("function");
    functions.push_back(function != nullptr ? function->ToText() : "{}");
  }
  return functions;
}

absl::StatusOr<Role> RoleOf(const std::string& name, bool by_api_rules, std::size_t index) {
  static const std::map<std::string, Role, std::less<>> kRoles = {
      {"system", Role::kSystem},
      {"developer", Role::kDeveloper},
      {"user", Role::kUser},
      {"assistant", Role::kAssistant},
      {"tool", Role::kTool},
      {"latest_reminder", Role::kLatestReminder}};
  const auto role = kRoles.find(name);
  if (role == kRoles.end()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("messages.%d.role is '%s', which is not known", index, name));
  }
  return by_api_rules && role->second == Role::kDeveloper ? Role::kSystem : role->second;
}

absl::StatusOr<std::vector<ChatMessage>> MessagesOf(const JsonValue& item,
                                                    std::string_view name,
                                                    bool by_api_rules) {
  std::vector<ChatMessage> messages;
  const JsonValue* list = item.Find(name);
  for (std::size_t i = 0; list != nullptr && list->array() && i < list->array()->size(); ++i) {
    const JsonValue& value = (*list->array())[i];
    ChatMessage& message = messages.emplace_back();
    ASSIGN_OR_RETURN(message.role, RoleOf(StringOf(value, "role"), by_api_rules, i));
    message.content = ContentOf(value);
    message.reasoning = StringOf(
        value, value.Find("reasoning_content") != nullptr ? "reasoning_content" : "reasoning");
    const JsonValue* calls = value.Find("tool_calls");
    for (std::size_t j = 0; calls != nullptr && calls->array() && j < calls->array()->size(); ++j) {
      message.calls.push_back(CallOf((*calls->array())[j]));
    }
    message.call_id = StringOf(value, "tool_call_id");
    message.tools = FunctionsOf(value);
    if (const JsonValue* format = value.Find("response_format")) {
      message.format = format->ToText();
    }
    if (value.Find("task") != nullptr) {
      message.task = StringOf(value, "task");
    }
    message.is_open = BoolOf(value, "wo_eos", false);
  }
  return messages;
}

absl::StatusOr<ChatFormat> FormatOf(const JsonValue& item) {
  static const std::map<std::string, EncodedEffort, std::less<>> kEfforts = {
      {"", EncodedEffort::kNone},
      {"low", EncodedEffort::kLow},
      {"high", EncodedEffort::kHigh},
      {"max", EncodedEffort::kMax}};
  const std::string effort = StringOf(item, "reasoning_effort");
  const std::string profile = StringOf(item, "profile");
  const auto known = kEfforts.find(effort);
  if (known == kEfforts.end()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("reasoning_effort is '%s'; it must be low, high or max", effort));
  }
  if (!profile.empty() && profile != "preview" && profile != "0731") {
    return absl::InvalidArgumentError(
        absl::StrFormat("profile is '%s'; it must be preview or 0731", profile));
  }
  ChatFormat format;
  format.profile = profile == "preview" ? EncodingProfile::kPreview : EncodingProfile::k0731;
  format.thinking =
      StringOf(item, "thinking_mode") != "chat" && StringOf(item, "thinking") != "disabled";
  format.effort = known->second;
  format.drop_thinking = BoolOf(item, "drop_thinking", true);
  format.add_bos = BoolOf(item, "add_bos", true);
  return format;
}

}  // namespace

absl::StatusOr<std::string> RenderChatCase(const JsonValue& item) {
  // A case of the API's rules has been through its normalisation; others use the encoder's roles.
  const bool by_api_rules = StringOf(item, "source") == "project-rule";
  ASSIGN_OR_RETURN(const ChatFormat format, FormatOf(item));
  ASSIGN_OR_RETURN(std::vector<ChatMessage> messages, MessagesOf(item, "messages", by_api_rules));
  ASSIGN_OR_RETURN(std::vector<ChatMessage> context, MessagesOf(item, "context", by_api_rules));
  engine::text::AttachTools(FunctionsOf(item), context.empty() ? &messages : &context);
  return engine::text::RenderChat(std::move(messages), std::move(context), format);
}

}  // namespace sparkspan::deploy::cli
