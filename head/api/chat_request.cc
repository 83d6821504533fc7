#include "absl/strings/str_format.h"
#include "head/api/request_fields.h"

// Messages of a chat: roles, content parts, the history's tool calls.
namespace sparkspan::head::api {
namespace {

// Joins parts as the model's own encoder joins text blocks.
constexpr std::string_view kPartSeparator = "\n\n";

std::string IndexedPath(std::string_view list, std::size_t index, std::string_view rest) {
  return absl::StrFormat("%s.%d%s%s", list, index, rest.empty() ? "" : ".", rest);
}

bool IsTextPart(std::string_view type) {
  return type == "text" || type == "input_text" || type == "output_text";
}

// Appends one part's text. A tool's result may hold what the model cannot see; a person's turn may
// not.
bool AppendPart(FieldReader* fields,
                const JsonValue& part,
                const std::string& path,
                bool is_tool,
                std::string* content) {
  if (part.string() != nullptr) {
    *content += *part.string();
    return true;
  }
  const JsonValue* type = part.Find("type");
  if (part.object() == nullptr || type == nullptr || type->string() == nullptr) {
    fields->Fail(InvalidValue(path, absl::StrFormat("'%s' must be a part with a 'type'.", path)));
    return false;
  }
  if (IsTextPart(*type->string())) {
    const JsonValue* text = part.Find("text");
    if (text == nullptr || text->string() == nullptr) {
      fields->Fail(
          InvalidValue(path + ".text", absl::StrFormat("'%s.text' must be a string.", path)));
      return false;
    }
    *content += *text->string();
    return true;
  }
  if (is_tool) {
    *content += "[Unsupported " + *type->string() + "]";
    return true;
  }
  fields->Fail(UnsupportedContent(
      path,
      absl::StrFormat(
          "'%s' has type '%s', but the model reads text only.", path, *type->string())));
  return false;
}

std::string ReadContent(FieldReader* fields,
                        const JsonValue& message,
                        const std::string& path,
                        bool is_tool) {
  const JsonValue* value = message.Find("content");
  if (value == nullptr) {
    return "";
  }
  if (value->string() != nullptr) {
    return *value->string();
  }
  std::string content;
  if (value->array() == nullptr) {
    fields->Fail(
        InvalidValue(path, absl::StrFormat("'%s' must be a string or an array of parts.", path)));
    return content;
  }
  for (std::size_t i = 0; i < value->array()->size(); ++i) {
    content += i == 0 ? "" : kPartSeparator;
    if (!AppendPart(fields, (*value->array())[i], IndexedPath(path, i, ""), is_tool, &content)) {
      break;
    }
  }
  return content;
}

bool HasKey(const JsonValue& object, std::string_view name) {
  for (const JsonValue::Member& member : *object.object()) {
    if (member.first == name) {
      return true;
    }
  }
  return false;
}

// Lenient where clients differ: an object is printed, nothing becomes {}.
std::string ReadArguments(const JsonValue* value) {
  if (value == nullptr) {
    return "{}";
  }
  if (value->string() != nullptr) {
    return value->string()->empty() ? "{}" : *value->string();
  }
  return value->ToText();
}

void ReadToolCalls(FieldReader* fields,
                   const JsonValue& message,
                   const std::string& path,
                   ChatMessage* result) {
  FieldReader reader(message, path + ".");
  const JsonValue::Array* calls = reader.Array("tool_calls");
  for (std::size_t i = 0; calls != nullptr && i < calls->size(); ++i) {
    const std::string call_path = IndexedPath(path + ".tool_calls", i, "");
    const JsonValue* function = (*calls)[i].Find("function");
    if (function == nullptr || function->object() == nullptr) {
      reader.Fail(MissingParameter(call_path + ".function"));
      break;
    }
    FieldReader function_reader(*function, call_path + ".function.");
    FieldReader call_reader((*calls)[i], call_path + ".");
    ToolCall call;
    const std::optional<std::string> name = function_reader.String("name");
    if (!name.has_value()) {
      function_reader.Fail(MissingParameter(call_path + ".function.name"));
    }
    call.id = call_reader.String("id").value_or("");
    call.name = name.value_or("");
    call.arguments = ReadArguments(function->Find("arguments"));
    for (const FieldReader* nested : {&function_reader, &call_reader}) {
      if (!nested->ok()) {
        reader.Fail(*nested->error());
      }
    }
    result->tool_calls.push_back(std::move(call));
  }
  if (!reader.ok()) {
    fields->Fail(*reader.error());
  }
}

void ReadAssistant(FieldReader* fields,
                   const JsonValue& message,
                   const std::string& path,
                   ChatMessage* result) {
  if (message.Find("function_call") != nullptr) {
    fields->Fail(Unsupported(path + ".function_call",
                             "'function_call' was replaced by 'tool_calls'; send that."));
  }
  FieldReader reader(message, path + ".");
  std::optional<std::string> reasoning = reader.String("reasoning_content");
  if (!reasoning.has_value()) {
    reasoning = reader.String("reasoning");
  }
  result->reasoning = reasoning.value_or("");
  if (!reader.ok()) {
    fields->Fail(*reader.error());
  }
  ReadToolCalls(fields, message, path, result);
}

std::optional<ChatMessage::Role> RoleOf(std::string_view name) {
  if (name == "system" || name == "developer") {
    return ChatMessage::Role::kSystem;
  }
  if (name == "user") {
    return ChatMessage::Role::kUser;
  }
  if (name == "assistant") {
    return ChatMessage::Role::kAssistant;
  }
  if (name == "tool") {
    return ChatMessage::Role::kTool;
  }
  return std::nullopt;
}

bool ReadMessage(FieldReader* fields,
                 const JsonValue& message,
                 std::size_t index,
                 ChatRequest* request) {
  const std::string path = IndexedPath("messages", index, "");
  if (message.object() == nullptr) {
    fields->Fail(InvalidValue(path, absl::StrFormat("'%s' must be an object.", path)));
    return false;
  }
  FieldReader reader(message, path + ".");
  const std::optional<std::string> role_name = reader.String("role");
  const std::optional<ChatMessage::Role> role = RoleOf(role_name.value_or(""));
  if (!role.has_value()) {
    const bool is_function = role_name == "function";
    reader.Fail(role_name.has_value()
                    ? InvalidValue(path + ".role",
                                   is_function
                                       ? "The role 'function' was replaced by 'tool'; use tools."
                                       : absl::StrFormat("'%s.role' must be system, developer, "
                                                         "user, assistant or tool.",
                                                         path))
                    : MissingParameter(path + ".role"));
    fields->Fail(*reader.error());
    return false;
  }
  ChatMessage result;
  result.role = *role;
  if (*role == ChatMessage::Role::kUser && !HasKey(message, "content")) {
    fields->Fail(MissingParameter(path + ".content"));
  }
  result.content =
      ReadContent(fields, message, path + ".content", *role == ChatMessage::Role::kTool);
  if (*role == ChatMessage::Role::kAssistant) {
    ReadAssistant(fields, message, path, &result);
    request->continue_final_message = reader.Bool("prefix").value_or(false);
  } else {
    request->continue_final_message = false;
  }
  if (*role == ChatMessage::Role::kTool) {
    result.tool_call_id = reader.String("tool_call_id").value_or("");
  }
  if (!reader.ok()) {
    fields->Fail(*reader.error());
  }
  request->messages.push_back(std::move(result));
  return fields->ok();
}

}  // namespace

void ReadMessages(FieldReader* fields, ChatRequest* request) {
  const JsonValue::Array* messages = fields->Array("messages");
  if (messages == nullptr) {
    fields->Fail(MissingParameter("messages"));
    return;
  }
  if (messages->empty()) {
    fields->Fail(InvalidValue("messages", "'messages' must not be empty."));
    return;
  }
  for (std::size_t i = 0; i < messages->size(); ++i) {
    if (!ReadMessage(fields, (*messages)[i], i, request)) {
      return;
    }
  }
  const std::optional<bool> continues = fields->Bool("continue_final_message");
  const std::optional<bool> adds_prompt = fields->Bool("add_generation_prompt");
  if (continues == true && adds_prompt == true) {
    fields->Fail(InvalidValue("continue_final_message",
                              "'continue_final_message' and 'add_generation_prompt' cannot both be "
                              "true."));
  }
  const bool ends_in_assistant = request->messages.back().role == ChatMessage::Role::kAssistant;
  if (continues == true && !ends_in_assistant) {
    fields->Fail(InvalidValue("continue_final_message",
                              "'continue_final_message' needs an assistant message at the end of "
                              "'messages'."));
  }
  request->continue_final_message = request->continue_final_message || continues == true;
  request->add_generation_prompt = adds_prompt.value_or(true) && !request->continue_final_message;
}

}  // namespace sparkspan::head::api
