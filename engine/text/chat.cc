#include "engine/text/chat.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/text/chat_texts.h"
#include "engine/text/chat_turns.h"
#include "engine/text/control_text.h"
#include "engine/text/json.h"

namespace sparkspan::engine::text {
namespace {

using Role = ChatMessage::Role;

constexpr std::array<std::string_view, 6> kTasks = {
    "action", "query", "authority", "domain", "title", "read_url"};

absl::Status CheckMessage(const ChatMessage& message, std::size_t index) {
  if (message.task.has_value() &&
      std::find(kTasks.begin(), kTasks.end(), *message.task) == kTasks.end()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("messages.%d.task is '%s'; it must be action, query, authority, domain, "
                        "title or read_url",
                        index,
                        *message.task));
  }
  if (message.role == Role::kDeveloper && message.content.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("messages.%d.content is empty, which a developer's may not be", index));
  }
  return absl::OkStatus();
}

// The arguments of a call in the history as named values.
JsonValue::Object ArgumentsOf(const ChatCall& call) {
  if (call.arguments.empty()) {
    return {};
  }
  std::string why;
  std::optional<JsonValue> value = ParseJson(call.arguments, JsonLimits{}, &why);
  if (value.has_value() && value->is_null()) {
    return {};
  }
  if (value.has_value() && value->object() != nullptr) {
    return *value->object();
  }
  return {{"arguments", JsonValue(call.arguments)}};
}

std::string BlockBeginning() {
  return absl::StrFormat("\n\n<%stool_calls>\n", kMarkupText);
}

// Nothing is escaped: the model reads names and strings as they are.
std::string InvokeBeginning(std::string_view function) {
  return absl::StrFormat("<%sinvoke name=\"%s\">\n", kMarkupText, function);
}

std::string RenderCalls(const std::vector<ChatCall>& calls) {
  std::string text = BlockBeginning();
  for (const ChatCall& call : calls) {
    text += InvokeBeginning(call.name);
    std::string_view separator;
    for (const auto& [name, value] : ArgumentsOf(call)) {
      const std::string* string = value.string();
      text += absl::StrFormat("%s<%sparameter name=\"%s\" string=\"%s\">%s</%sparameter>",
                              separator,
                              kMarkupText,
                              name,
                              string != nullptr ? "true" : "false",
                              string != nullptr ? *string : value.ToPythonText(),
                              kMarkupText);
      separator = "\n";
    }
    text += absl::StrFormat("\n</%sinvoke>\n", kMarkupText);
  }
  return text + absl::StrFormat("</%stool_calls>", kMarkupText);
}

// JSON as the prompt holds it; text that is none stays as it is.
std::string PromptJson(const std::string& json) {
  std::string why;
  const std::optional<JsonValue> value = ParseJson(json, JsonLimits{}, &why);
  return value.has_value() ? value->ToPythonText() : json;
}

// What a system's or a developer's message says besides its content.
std::string RenderAttachments(const ChatMessage& message) {
  std::string text;
  if (!message.tools.empty()) {
    std::string schemas;
    for (const std::string& tool : message.tools) {
      schemas += (schemas.empty() ? "" : "\n") + PromptJson(tool);
    }
    text += "\n\n" + ToolsText(schemas);
  }
  if (message.format.has_value()) {
    text += "\n\n" + FormatText(PromptJson(*message.format));
  }
  return text;
}

std::string RenderBlocks(const std::vector<TurnBlock>& blocks) {
  std::string text;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    text += i == 0 ? "" : "\n\n";
    text += blocks[i].is_tool_result
                ? absl::StrFormat("<tool_result>%s</tool_result>", blocks[i].text)
                : blocks[i].text;
  }
  return text;
}

class Renderer {
 public:
  Renderer(std::vector<ChatTurn> turns, const ChatFormat& format, bool keep_reasoning)
      : turns_(std::move(turns)),
        format_(format),
        keep_reasoning_(keep_reasoning),
        last_asking_(LastAsking(turns_)) {}

  std::string Render(std::size_t first) const {
    std::string text;
    for (std::size_t i = first; i < turns_.size(); ++i) {
      text += Turn(i) + Transition(i);
    }
    return text;
  }

 private:
  std::string Turn(std::size_t index) const {
    const ChatMessage& message = turns_[index].message;
    switch (message.role) {
      case Role::kSystem:
        return message.content + RenderAttachments(message);
      case Role::kDeveloper:
        return std::string(kUserText) + message.content + RenderAttachments(message);
      case Role::kUser:
      case Role::kTool:
        return std::string(kUserText) + RenderBlocks(turns_[index].blocks);
      case Role::kLatestReminder:
        return std::string(kLatestReminderText) + message.content;
      case Role::kAssistant:
        break;
    }
    std::string text;
    // What follows a task is its result, which is not reasoned about.
    const bool answers_task = index > 0 && turns_[index - 1].message.task.has_value();
    if (format_.thinking && !answers_task &&
        (keep_reasoning_ || static_cast<std::ptrdiff_t>(index) > last_asking_)) {
      text += message.reasoning + std::string(kThinkEndText);
    }
    text += message.content;
    if (!message.calls.empty()) {
      text += RenderCalls(message.calls);
    }
    return text + std::string(message.is_open ? "" : kEosText);
  }

  // What stands between this turn and the next one, or at the end.
  std::string Transition(std::size_t index) const {
    const bool is_last = index + 1 == turns_.size();
    if (!is_last && turns_[index + 1].message.role != Role::kAssistant &&
        turns_[index + 1].message.role != Role::kLatestReminder) {
      return "";
    }
    const ChatTurn& turn = turns_[index];
    if (turn.message.task.has_value()) {
      return (turn.message.task == "action" ? AssistantHeader(format_.thinking) : "") +
             absl::StrFormat("<｜%s｜>", *turn.message.task);
    }
    if (!turn.IsAsking() || (is_last && !format_.add_header)) {
      return "";
    }
    return AssistantHeader(format_.thinking &&
                           (keep_reasoning_ || static_cast<std::ptrdiff_t>(index) >= last_asking_));
  }

  const std::vector<ChatTurn> turns_;
  const ChatFormat& format_;
  const bool keep_reasoning_;
  const std::ptrdiff_t last_asking_;
};

// The message that says how to answer: an empty one is made where there is none.
ChatMessage& InstructingMessage(std::vector<ChatMessage>* messages) {
  if (messages->empty() ||
      (messages->front().role != Role::kSystem && messages->front().role != Role::kDeveloper)) {
    messages->emplace(messages->begin())->role = Role::kSystem;
  }
  return messages->front();
}

bool HasTools(const std::vector<ChatTurn>& turns) {
  return std::any_of(
      turns.begin(), turns.end(), [](const ChatTurn& turn) { return !turn.message.tools.empty(); });
}

}  // namespace

std::string_view ToString(EncodingProfile profile) {
  return profile == EncodingProfile::kPreview ? "preview" : "0731";
}

std::string AssistantHeader(bool thinking) {
  return std::string(kAssistantText) + std::string(thinking ? kThinkText : kThinkEndText);
}

void AttachTools(std::vector<std::string> tools, std::vector<ChatMessage>* messages) {
  if (!tools.empty()) {
    InstructingMessage(messages).tools = std::move(tools);
  }
}

void AttachFormat(std::string format, std::vector<ChatMessage>* messages) {
  InstructingMessage(messages).format = std::move(format);
}

std::string CallBeginning(std::string_view function) {
  return BlockBeginning() +
         (function.empty() ? absl::StrFormat("<%sinvoke", kMarkupText) : InvokeBeginning(function));
}

absl::StatusOr<std::string> RenderChat(std::vector<ChatMessage> messages,
                                       std::vector<ChatMessage> context,
                                       const ChatFormat& format) {
  if (messages.empty()) {
    return absl::InvalidArgumentError("messages is empty; give at least one");
  }
  for (const std::vector<ChatMessage>* list : {&context, &messages}) {
    for (std::size_t i = 0; i < list->size(); ++i) {
      RETURN_IF_ERROR(CheckMessage((*list)[i], i));
    }
  }
  ASSIGN_OR_RETURN(const std::string_view effort, EffortText(format.profile, format.effort));
  const bool has_context = !context.empty();
  // The context is text already: a new message cannot join a turn of it.
  std::vector<ChatTurn> turns = MergeTurns(std::move(context));
  std::size_t first = turns.size();
  std::vector<ChatTurn> added = MergeTurns(std::move(messages));
  turns.insert(
      turns.end(), std::make_move_iterator(added.begin()), std::make_move_iterator(added.end()));
  SortResults(&turns);
  const bool keep_reasoning = !format.drop_thinking || HasTools(turns);
  if (format.thinking && !keep_reasoning) {
    first = DropOldReasoning(&turns, first);
  }
  std::string prompt(format.add_bos && !has_context ? kBosText : "");
  if (format.thinking && !has_context) {
    prompt += effort;
  }
  return prompt + Renderer(std::move(turns), format, keep_reasoning).Render(first);
}

absl::StatusOr<EncodingProfile> DetectProfile(const std::string& folder) {
  const std::filesystem::path path = std::filesystem::path(folder) / "encoding/encoding_dsv4.py";
  if (!std::filesystem::exists(path)) {
    return EncodingProfile::k0731;
  }
  std::ifstream stream(path, std::ios::binary);
  const std::string source((std::istreambuf_iterator<char>(stream)), {});
  const auto has_key = [&](std::string_view key) {
    return source.find(absl::StrFormat("\"%s\":", key)) != std::string::npos ||
           source.find(absl::StrFormat("'%s':", key)) != std::string::npos;
  };
  if (has_key("low") && has_key("high") && has_key("max")) {
    return EncodingProfile::k0731;
  }
  if (source.find("Reasoning Effort: Absolute maximum") != std::string::npos) {
    return EncodingProfile::kPreview;
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("%s is neither the preview's nor 0731's encoder; choose the profile yourself",
                      path.string()));
}

}  // namespace sparkspan::engine::text
