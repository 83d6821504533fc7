#include <algorithm>
#include <unordered_set>

#include "absl/strings/str_format.h"
#include "head/api/request_fields.h"

// The tools a chat offers and which of them the model may call.
namespace sparkspan::head::api {
namespace {

constexpr std::size_t kNameBytesMax = 256;
constexpr std::size_t kToolsMax = 2048;

// Wider than OpenAI's rule, as names of MCP servers hold dots and slashes; but nothing that would
// end a tag of the prompt.
bool IsToolName(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::none_of(name.begin(), name.end(), [](char c) {
           const auto byte = static_cast<unsigned char>(c);
           return byte < 0x20 || byte == 0x7F || c == '"' || c == '<' || c == '>';
         });
}

std::optional<Tool> ReadTool(FieldReader* fields, const JsonValue& value, const std::string& path) {
  if (value.object() == nullptr) {
    fields->Fail(InvalidValue(path, absl::StrFormat("'%s' must be an object.", path)));
    return std::nullopt;
  }
  FieldReader reader(value, path + ".");
  const std::optional<std::string> type = reader.String("type");
  if (type.has_value() && *type != "function") {
    reader.Fail(Unsupported(
        path + ".type",
        absl::StrFormat("'%s.type' is '%s'; only 'function' is supported.", path, *type)));
  }
  const JsonValue* function = reader.Object("function");
  if (function == nullptr) {
    reader.Fail(MissingParameter(path + ".function"));
    fields->Fail(*reader.error());
    return std::nullopt;
  }
  FieldReader nested(*function, path + ".function.");
  const std::optional<std::string> name = nested.String("name");
  if (nested.ok() && !name.has_value()) {
    nested.Fail(MissingParameter(path + ".function.name"));
  } else if (!IsToolName(name.value_or(""))) {
    nested.Fail(InvalidValue(path + ".function.name",
                             absl::StrFormat("'%s.function.name' must be 1 to %d printable "
                                             "characters other than \", < and >.",
                                             path,
                                             kNameBytesMax)));
  }
  nested.String("description");
  nested.Object("parameters");
  if (nested.Bool("strict").value_or(false)) {
    nested.Fail(Unsupported(path + ".function.strict",
                            "Strict tools are not supported by this server; leave 'strict' out."));
  }
  for (const FieldReader* part : {&reader, &nested}) {
    if (!part->ok()) {
      fields->Fail(*part->error());
      return std::nullopt;
    }
  }
  return Tool{.name = *name, .function = function->ToText()};
}

void ReadToolList(FieldReader* fields, ChatRequest* request) {
  const JsonValue::Array* tools = fields->Array("tools");
  if (tools != nullptr && tools->size() > kToolsMax) {
    fields->Fail(InvalidValue(
        "tools",
        absl::StrFormat(
            "'tools' has %d entries; at most %d are allowed.", tools->size(), kToolsMax)));
    return;
  }
  std::unordered_set<std::string> names;
  for (std::size_t i = 0; tools != nullptr && i < tools->size(); ++i) {
    const std::string path = absl::StrFormat("tools.%d", i);
    std::optional<Tool> tool = ReadTool(fields, (*tools)[i], path);
    if (!tool.has_value()) {
      return;
    }
    if (!names.insert(tool->name).second) {
      fields->Fail(InvalidValue(
          path + ".function.name",
          absl::StrFormat("Two tools are named '%s'; names must differ.", tool->name)));
      return;
    }
    request->tools.push_back(*std::move(tool));
  }
}

bool Offers(const ChatRequest& request, std::string_view name) {
  return std::any_of(request.tools.begin(), request.tools.end(), [&](const Tool& tool) {
    return tool.name == name;
  });
}

std::string FunctionName(const JsonValue& choice) {
  const JsonValue* function = choice.Find("function");
  const JsonValue* name = function != nullptr ? function->Find("name") : nullptr;
  return name != nullptr && name->string() != nullptr ? *name->string() : "";
}

// Names in {"type": "allowed_tools", "allowed_tools": {"mode", "tools": [...]}}: the others are not
// rendered.
void ReadAllowedTools(FieldReader* fields, const JsonValue& choice, ChatRequest* request) {
  const JsonValue* allowed = choice.Find("allowed_tools");
  const JsonValue& body = allowed != nullptr ? *allowed : choice;
  FieldReader reader(body, "tool_choice.");
  const std::string mode = reader.String("mode").value_or("auto");
  if (mode != "auto" && mode != "required") {
    reader.Fail(InvalidValue("tool_choice.mode", "'tool_choice.mode' must be auto or required."));
  }
  const JsonValue::Array* list = reader.Array("tools");
  if (!reader.ok() || list == nullptr) {
    fields->Fail(reader.ok() ? MissingParameter("tool_choice.tools") : *reader.error());
    return;
  }
  std::unordered_set<std::string> offered;
  for (const Tool& tool : request->tools) {
    offered.insert(tool.name);
  }
  std::unordered_set<std::string> names;
  for (const JsonValue& entry : *list) {
    const std::string name = FunctionName(entry);
    if (!offered.contains(name)) {
      fields->Fail(InvalidValue(
          "tool_choice", absl::StrFormat("'tool_choice' names '%s', which is no tool.", name)));
      return;
    }
    names.insert(name);
  }
  std::erase_if(request->tools, [&](const Tool& tool) { return !names.contains(tool.name); });
  request->must_call = mode == "required" && !request->tools.empty();
}

void ReadToolChoice(FieldReader* fields, ChatRequest* request) {
  const JsonValue* choice = fields->root().Find("tool_choice");
  if (choice == nullptr) {
    return;
  }
  const std::string word = choice->string() != nullptr ? *choice->string() : "";
  if (word == "none") {
    request->tools.clear();
    return;
  }
  if (word == "auto") {
    return;
  }
  if (choice->object() == nullptr && word != "required") {
    fields->Fail(InvalidValue(
        "tool_choice", "'tool_choice' must be \"none\", \"auto\", \"required\" or an object."));
    return;
  }
  if (request->tools.empty()) {
    fields->Fail(InvalidValue("tool_choice", "When using `tool_choice`, `tools` must be set."));
    return;
  }
  const JsonValue* type = choice->Find("type");
  const std::string kind = type != nullptr && type->string() != nullptr ? *type->string() : "";
  if (kind == "allowed_tools") {
    ReadAllowedTools(fields, *choice, request);
    return;
  }
  request->must_call = true;
  if (word == "required") {
    return;
  }
  request->must_call_name = FunctionName(*choice);
  if (kind != "function" || !Offers(*request, request->must_call_name)) {
    fields->Fail(InvalidValue("tool_choice", "'tool_choice' must name one of 'tools'."));
  }
}

}  // namespace

void ReadTools(FieldReader* fields, ChatRequest* request) {
  for (const std::string_view name : {"functions", "function_call"}) {
    if (fields->Has(name)) {
      fields->Fail(Unsupported(
          std::string(name),
          absl::StrFormat("'%s' was replaced by 'tools' and 'tool_choice'; use those.", name)));
    }
  }
  ReadToolList(fields, request);
  ReadToolChoice(fields, request);
  request->parallel_tool_calls = fields->Bool("parallel_tool_calls").value_or(true);
}

}  // namespace sparkspan::head::api
