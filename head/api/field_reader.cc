#include "head/api/field_reader.h"

#include "absl/strings/str_format.h"

namespace sparkspan::head::api {

void FieldReader::Fail(ApiError error) {
  if (!error_.has_value()) {
    error_ = std::move(error);
  }
}

const JsonValue* FieldReader::FindForRead(std::string_view name) const {
  return ok() ? object_.Find(name) : nullptr;
}

void FieldReader::FailType(std::string_view name, std::string_view expected) {
  Fail(InvalidValue(Path(name), absl::StrFormat("'%s' must be %s.", Path(name), expected)));
}

std::optional<bool> FieldReader::Bool(std::string_view name) {
  const JsonValue* value = FindForRead(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (value->boolean() == nullptr) {
    FailType(name, "a boolean");
    return std::nullopt;
  }
  return *value->boolean();
}

std::optional<std::int64_t> FieldReader::Integer(std::string_view name,
                                                 std::int64_t min,
                                                 std::int64_t max) {
  const JsonValue* value = FindForRead(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  const std::optional<std::int64_t> integer = value->AsInteger();
  if (!integer.has_value()) {
    FailType(name, "an integer");
    return std::nullopt;
  }
  if (*integer < min || *integer > max) {
    Fail(InvalidValue(
        Path(name),
        absl::StrFormat("'%s' is %d; it must be in [%d, %d].", Path(name), *integer, min, max)));
    return std::nullopt;
  }
  return integer;
}

std::optional<double> FieldReader::Number(std::string_view name, double min, double max) {
  const JsonValue* value = FindForRead(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  const std::optional<double> number = value->AsDouble();
  if (!number.has_value()) {
    FailType(name, "a number");
    return std::nullopt;
  }
  if (*number < min || *number > max) {
    Fail(InvalidValue(
        Path(name),
        absl::StrFormat("'%s' is %g; it must be in [%g, %g].", Path(name), *number, min, max)));
    return std::nullopt;
  }
  return number;
}

std::optional<std::string> FieldReader::String(std::string_view name) {
  const JsonValue* value = FindForRead(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (value->string() == nullptr) {
    FailType(name, "a string");
    return std::nullopt;
  }
  return *value->string();
}

const JsonValue* FieldReader::Object(std::string_view name) {
  const JsonValue* value = FindForRead(name);
  if (value != nullptr && value->object() == nullptr) {
    FailType(name, "an object");
    return nullptr;
  }
  return value;
}

const JsonValue::Array* FieldReader::Array(std::string_view name) {
  const JsonValue* value = FindForRead(name);
  if (value == nullptr) {
    return nullptr;
  }
  if (value->array() == nullptr) {
    FailType(name, "an array");
  }
  return value->array();
}

std::vector<std::string> FieldReader::Strings(std::string_view name, std::size_t count_max) {
  std::vector<std::string> strings;
  const JsonValue* value = FindForRead(name);
  if (value == nullptr) {
    return strings;
  }
  if (value->string() != nullptr) {
    strings.push_back(*value->string());
  } else if (value->array() != nullptr && value->array()->size() <= count_max) {
    for (const JsonValue& entry : *value->array()) {
      if (entry.string() == nullptr) {
        FailType(name, "a string or an array of strings");
        return {};
      }
      strings.push_back(*entry.string());
    }
  } else {
    FailType(name, absl::StrFormat("a string or an array of at most %d strings", count_max));
  }
  for (const std::string& entry : strings) {
    if (entry.empty()) {
      FailType(name, "free of empty strings");
    }
  }
  return strings;
}

std::vector<engine::Token> FieldReader::Tokens(std::string_view name,
                                               std::int32_t vocabulary_size) {
  std::vector<engine::Token> tokens;
  const JsonValue::Array* values = Array(name);
  if (values == nullptr) {
    return tokens;
  }
  tokens.reserve(values->size());
  for (const JsonValue& value : *values) {
    const std::optional<std::int64_t> token = value.AsInteger();
    if (!token.has_value() || *token < 0 || *token >= vocabulary_size) {
      FailType(name, absl::StrFormat("an array of token ids in [0, %d)", vocabulary_size));
      return {};
    }
    tokens.push_back(static_cast<engine::Token>(*token));
  }
  return tokens;
}

}  // namespace sparkspan::head::api
