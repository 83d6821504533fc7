#include "engine/text/tool_schema.h"

#include "engine/text/json.h"

namespace sparkspan::engine::text {
namespace {

ToolSchema SchemaOf(const JsonValue& function) {
  ToolSchema schema;
  const JsonValue* parameters = function.Find("parameters");
  const JsonValue* properties = parameters != nullptr ? parameters->Find("properties") : nullptr;
  if (properties == nullptr || properties->object() == nullptr) {
    return schema;
  }
  for (const auto& [name, property] : *properties->object()) {
    const JsonValue* type = property.Find("type");
    schema.is_string[name] =
        type != nullptr && type->string() != nullptr && *type->string() == "string";
  }
  return schema;
}

}  // namespace

OfferedTools OfferedTools::Any() {
  OfferedTools tools;
  tools.any_ = true;
  return tools;
}

OfferedTools OfferedTools::Of(std::span<const std::string> functions) {
  OfferedTools tools;
  for (const std::string& text : functions) {
    std::string why;
    const std::optional<JsonValue> function = ParseJson(text, JsonLimits{}, &why);
    const JsonValue* name = function.has_value() ? function->Find("name") : nullptr;
    if (name != nullptr && name->string() != nullptr) {
      tools.schemas_[*name->string()] = SchemaOf(*function);
    }
  }
  return tools;
}

const ToolSchema* OfferedTools::Find(std::string_view name) const {
  const auto found = schemas_.find(name);
  return found != schemas_.end() ? &found->second : nullptr;
}

}  // namespace sparkspan::engine::text
