#include "engine/text/json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <unordered_map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "engine/text/utf8.h"
#include "nlohmann/json.hpp"

namespace sparkspan::engine::text {
namespace {

// With long double the parser accepts numbers beyond the range of double, whose text is kept.
using Sax = nlohmann::
    basic_json<std::map, std::vector, std::string, bool, std::int64_t, std::uint64_t, long double>;

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
class TreeBuilder : public nlohmann::json_sax<Sax> {
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
    *error_ = absl::StrFormat("no valid JSON in UTF-8: error at byte %d", position);
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
      *error_ = absl::StrFormat("holds more than %d JSON values", limits_.values_max);
      return false;
    }
    return true;
  }

  bool Enter(bool is_object) {
    if (open_.size() >= limits_.depth_max) {
      *error_ = absl::StrFormat("nested deeper than %d levels", limits_.depth_max);
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

// The number as Python prints it: integers keep their digits; others take the shortest text that
// reads back as the same double, with an exponent from 1e16 up and below 1e-4.
std::string PythonNumber(const std::string& written) {
  double value = 0;
  if (written.find_first_of(".eE") == std::string::npos) {
    return written == "-0" ? "0" : written;
  }
  if (!absl::SimpleAtod(written, &value) || !std::isfinite(value)) {
    return written;
  }
  std::array<char, 32> buffer;
  const auto end =
      std::to_chars(
          buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific)
          .ptr;
  const std::string scientific(buffer.data(), end);
  const std::size_t e = scientific.find('e');
  const int exponent = std::atoi(scientific.c_str() + e + 1);
  if (exponent < -4 || exponent >= 16) {
    return scientific;
  }
  const std::string sign = scientific[0] == '-' ? "-" : "";
  std::string digits;
  for (const char c : scientific.substr(0, e)) {
    digits += c >= '0' && c <= '9' ? std::string(1, c) : "";
  }
  if (exponent < 0) {
    return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  }
  const std::size_t whole = static_cast<std::size_t>(exponent) + 1;
  digits.append(digits.size() <= whole ? whole + 1 - digits.size() : 0, '0');
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

// The code unit of the six-character escape at `at`; empty when there is none.
std::optional<unsigned> EscapedUnit(std::string_view text, std::size_t at) {
  if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') {
    return std::nullopt;
  }
  unsigned unit = 0;
  const char* end = text.data() + at + 6;
  const auto [stop, error] = std::from_chars(text.data() + at + 2, end, unit, 16);
  return error == std::errc() && stop == end ? std::optional(unit) : std::nullopt;
}

// Clients that cut a string inside an emoji send half of a surrogate pair: such an escape becomes
// U+FFFD's. Returns nothing when there is none, which is nearly always.
std::string ReplaceLoneSurrogates(std::string_view text) {
  std::string repaired;
  for (std::size_t at = text.find('\\'); at != std::string_view::npos; at = text.find('\\', at)) {
    const std::optional<unsigned> unit = EscapedUnit(text, at);
    if (!unit.has_value()) {
      at += 2;
      continue;
    }
    const std::optional<unsigned> next = EscapedUnit(text, at + 6);
    if (*unit >= 0xD800 && *unit < 0xDC00 && next >= 0xDC00u && next < 0xE000u) {
      at += 12;
      continue;
    }
    if (*unit >= 0xD800 && *unit < 0xE000) {
      repaired = repaired.empty() ? std::string(text) : std::move(repaired);
      repaired.replace(at + 2, 4, "fffd");
    }
    at += 6;
  }
  return repaired;
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
  AppendText(NumberForm::kAsWritten, &text);
  return text;
}

std::string JsonValue::ToPythonText() const {
  std::string text;
  AppendText(NumberForm::kPython, &text);
  return text;
}

void JsonValue::AppendText(NumberForm form, std::string* out) const {
  if (const bool* flag = boolean()) {
    *out += *flag ? "true" : "false";
  } else if (const Number* digits = number()) {
    *out += form == NumberForm::kPython ? PythonNumber(digits->text) : digits->text;
  } else if (const std::string* text = string()) {
    AppendJsonString(*text, out);
  } else if (const Array* values = array()) {
    *out += '[';
    for (std::size_t i = 0; i < values->size(); ++i) {
      *out += i == 0 ? "" : ", ";
      (*values)[i].AppendText(form, out);
    }
    *out += ']';
  } else if (const Object* members = object()) {
    *out += '{';
    for (std::size_t i = 0; i < members->size(); ++i) {
      *out += i == 0 ? "" : ", ";
      AppendJsonString((*members)[i].first, out);
      *out += ": ";
      (*members)[i].second.AppendText(form, out);
    }
    *out += '}';
  } else {
    *out += "null";
  }
}

std::optional<JsonValue> ParseJson(std::string_view text,
                                   const JsonLimits& limits,
                                   std::string* error) {
  // nlohmann takes a NUL for the end of the text, and skips a byte order mark.
  if (text.find('\0') != std::string_view::npos || text.starts_with("\xEF\xBB\xBF")) {
    *error = "no valid JSON: it has a NUL byte, or begins with a byte order mark";
    return std::nullopt;
  }
  TreeBuilder builder(limits, error);
  const std::string repaired = ReplaceLoneSurrogates(text);
  if (!Sax::sax_parse(repaired.empty() ? text : std::string_view(repaired), &builder)) {
    if (error->empty()) {
      *error = "no valid JSON in UTF-8";
    }
    return std::nullopt;
  }
  return builder.Take();
}

void AppendJsonString(std::string_view text, std::string* out) {
  *out += '"';
  AppendJsonEscaped(ValidUtf8Prefix(text) == text.size() ? text : DecodeUtf8(text), out);
  *out += '"';
}

void AppendJsonEscaped(std::string_view text, std::string* out) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && c != '"' && c != '\\') {
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
    } else if (byte < 0x20) {
      *out += absl::StrFormat("\\u%04x", static_cast<unsigned>(byte));
    } else {
      *out += '\\';
      *out += c;
    }
  }
}

}  // namespace sparkspan::engine::text
