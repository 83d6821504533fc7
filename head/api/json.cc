#include "head/api/json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace sparkspan::head::api {
namespace {

// Keeps the last value of each key at the place of the first.
void RemoveDuplicates(JsonValue::Object* members) {
  std::unordered_map<std::string_view, std::size_t> first_of;
  std::vector<std::pair<std::size_t, std::size_t>> moves;  // from, to
  for (std::size_t i = 0; i < members->size(); ++i) {
    const auto [found, inserted] = first_of.try_emplace((*members)[i].first, i);
    if (!inserted) {
      moves.emplace_back(i, found->second);
    }
  }
  if (moves.empty()) {
    return;
  }
  std::vector<bool> gone(members->size(), false);
  for (const auto& [from, to] : moves) {
    (*members)[to].second = std::move((*members)[from].second);
    gone[from] = true;
  }
  JsonValue::Object kept;
  for (std::size_t i = 0; i < members->size(); ++i) {
    if (!gone[i]) {
      kept.push_back(std::move((*members)[i]));
    }
  }
  *members = std::move(kept);
}

// Builds values from the parser's events, so that limits hold before memory is spent.
class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  TreeBuilder(const JsonLimits& limits, std::string* error) : limits_(limits), error_(error) {}

  JsonValue Take() { return std::move(root_); }

  bool null() override { return Add(JsonValue()); }
  bool boolean(bool value) override { return Add(JsonValue(value)); }
  bool number_integer(number_integer_t value) override {
    return Add(JsonValue(JsonValue::Number{std::to_string(value)}));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return Add(JsonValue(JsonValue::Number{std::to_string(value)}));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return Add(JsonValue(JsonValue::Number{text}));
  }
  bool string(string_t& value) override { return Add(JsonValue(std::move(value))); }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override { return Enter(/*is_object=*/true); }
  bool key(string_t& name) override {
    open_.back().key = std::move(name);
    return true;
  }
  bool end_object() override {
    JsonValue::Object members = std::move(open_.back().members);
    open_.pop_back();
    RemoveDuplicates(&members);
    return Place(JsonValue(std::move(members)));
  }
  bool start_array(std::size_t) override { return Enter(/*is_object=*/false); }
  bool end_array() override {
    JsonValue::Array values = std::move(open_.back().values);
    open_.pop_back();
    return Place(JsonValue(std::move(values)));
  }

  bool parse_error(std::size_t position,
                   const std::string&,
                   const nlohmann::detail::exception&) override {
    *error_ = absl::StrFormat("The body is no valid JSON in UTF-8: error at byte %d.", position);
    return false;
  }

 private:
  struct Open {
    bool is_object;
    std::string key;
    JsonValue::Object members;
    JsonValue::Array values;
  };

  bool Count() {
    if (++count_ > limits_.values_max) {
      *error_ = absl::StrFormat("The body holds more than %d JSON values.", limits_.values_max);
      return false;
    }
    return true;
  }

  bool Enter(bool is_object) {
    if (open_.size() >= limits_.depth_max) {
      *error_ = absl::StrFormat("The body is nested deeper than %d levels.", limits_.depth_max);
      return false;
    }
    open_.push_back(Open{is_object, {}, {}, {}});
    return Count();
  }

  bool Add(JsonValue value) { return Count() && Place(std::move(value)); }

  bool Place(JsonValue value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().is_object) {
      open_.back().members.emplace_back(std::move(open_.back().key), std::move(value));
    } else {
      open_.back().values.push_back(std::move(value));
    }
    return true;
  }

  const JsonLimits limits_;
  std::string* error_;
  JsonValue root_;
  std::vector<Open> open_;
  std::size_t count_ = 0;
};

// Bytes of the UTF-8 character at the front of `text`, 0 when it is none.
std::size_t CharacterBytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    return 1;
  }
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) {
    return 0;
  }
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) {
      return 0;
    }
  }
  const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
  const bool outside = (lead == 0xED && byte(1) > 0x9F) || (lead == 0xF4 && byte(1) > 0x8F);
  return overlong || outside ? 0 : length;
}

}  // namespace

std::optional<double> JsonValue::AsDouble() const {
  const Number* value = number();
  if (value == nullptr) {
    return std::nullopt;
  }
  double result = 0;
  const char* end = value->text.data() + value->text.size();
  const auto [stop, error] = std::from_chars(value->text.data(), end, result);
  if (error != std::errc() || stop != end || !std::isfinite(result)) {
    return std::nullopt;
  }
  return result;
}

std::optional<std::int64_t> JsonValue::AsInteger() const {
  const Number* value = number();
  if (value == nullptr) {
    return std::nullopt;
  }
  std::int64_t result = 0;
  const char* end = value->text.data() + value->text.size();
  const auto [stop, error] = std::from_chars(value->text.data(), end, result);
  if (error == std::errc() && stop == end) {
    return result;
  }
  const std::optional<double> real = AsDouble();
  // Beyond 2^53 a fraction's digits no longer say which integer was meant.
  if (!real.has_value() || *real != std::floor(*real) || std::abs(*real) > 9007199254740992.0) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(*real);
}

const JsonValue* JsonValue::Find(std::string_view name) const {
  const Object* members = object();
  if (members == nullptr) {
    return nullptr;
  }
  for (const Member& member : *members) {
    if (member.first == name) {
      return member.second.is_null() ? nullptr : &member.second;
    }
  }
  return nullptr;
}

std::string JsonValue::ToText() const {
  std::string text;
  AppendText(&text);
  return text;
}

void JsonValue::AppendText(std::string* out) const {
  if (const bool* flag = boolean()) {
    *out += *flag ? "true" : "false";
  } else if (const Number* digits = number()) {
    *out += digits->text;
  } else if (const std::string* text = string()) {
    AppendJsonString(*text, out);
  } else if (const Array* values = array()) {
    *out += '[';
    for (std::size_t i = 0; i < values->size(); ++i) {
      *out += i == 0 ? "" : ", ";
      (*values)[i].AppendText(out);
    }
    *out += ']';
  } else if (const Object* members = object()) {
    *out += '{';
    for (std::size_t i = 0; i < members->size(); ++i) {
      *out += i == 0 ? "" : ", ";
      AppendJsonString((*members)[i].first, out);
      *out += ": ";
      (*members)[i].second.AppendText(out);
    }
    *out += '}';
  } else {
    *out += "null";
  }
}

std::optional<JsonValue> ParseJson(std::string_view text,
                                   const JsonLimits& limits,
                                   std::string* error) {
  TreeBuilder builder(limits, error);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) {
    if (error->empty()) {
      *error = "The body is no valid JSON in UTF-8.";
    }
    return std::nullopt;
  }
  return builder.Take();
}

void AppendJsonString(std::string_view text, std::string* out) {
  *out += '"';
  while (!text.empty()) {
    const std::size_t bytes = CharacterBytes(text);
    if (bytes == 0) {
      *out += "\xEF\xBF\xBD";
      text.remove_prefix(1);
      continue;
    }
    const char c = text[0];
    if (bytes > 1) {
      *out += text.substr(0, bytes);
    } else if (c == '"' || c == '\\') {
      *out += '\\';
      *out += c;
    } else if (c == '\n') {
      *out += "\\n";
    } else if (c == '\r') {
      *out += "\\r";
    } else if (c == '\t') {
      *out += "\\t";
    } else if (c == '\b') {
      *out += "\\b";
    } else if (c == '\f') {
      *out += "\\f";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      *out += absl::StrFormat("\\u%04x", static_cast<unsigned>(c));
    } else {
      *out += c;
    }
    text.remove_prefix(bytes);
  }
  *out += '"';
}

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
