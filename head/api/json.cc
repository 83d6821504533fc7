#include "head/api/json.h"

#include <array>
#include <charconv>
#include <cmath>

namespace sparkspan::head::api {

void JsonWriter::Separate() {
  if (needs_comma_) {
    text_ += ',';
  }
}

JsonWriter& JsonWriter::Open(char bracket) {
  Separate();
  text_ += bracket;
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::Close(char bracket) {
  text_ += bracket;
  needs_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::Key(std::string_view name) {
  Separate();
  AppendJsonString(name, &text_);
  text_ += ':';
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::String(std::string_view value) {
  Separate();
  AppendJsonString(value, &text_);
  needs_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::Integer(std::int64_t value) {
  return Raw(std::to_string(value));
}

JsonWriter& JsonWriter::Double(double value) {
  if (!std::isfinite(value)) {
    return Raw("-9999.0");
  }
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  std::string_view number(digits.data(), static_cast<std::size_t>(end - digits.data()));
  Raw(number);
  if (number.find_first_of(".e") == std::string_view::npos) {
    text_ += ".0";
  }
  return *this;
}

JsonWriter& JsonWriter::Raw(std::string_view json) {
  Separate();
  text_ += json;
  needs_comma_ = true;
  return *this;
}

}  // namespace sparkspan::head::api
