#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "engine/text/json.h"

namespace sparkspan::head::api {

using engine::text::AppendJsonString;
using engine::text::JsonLimits;
using engine::text::JsonValue;
using engine::text::ParseJson;

// Writes JSON text front to back; commas come by themselves.
class JsonWriter {
 public:
  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close(']'); }
  JsonWriter& Key(std::string_view name);
  JsonWriter& String(std::string_view value);
  JsonWriter& Integer(std::int64_t value);
  JsonWriter& Double(double value);  // -9999.0 stands for what JSON has no number for.
  JsonWriter& Bool(bool value) { return Raw(value ? "true" : "false"); }
  JsonWriter& Null() { return Raw("null"); }
  JsonWriter& Raw(std::string_view json);  // A complete value.

  const std::string& text() const { return text_; }
  std::string Take() { return std::move(text_); }

 private:
  JsonWriter& Open(char bracket);
  JsonWriter& Close(char bracket);
  void Separate();

  std::string text_;
  bool needs_comma_ = false;
};

}  // namespace sparkspan::head::api
