#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace sparkspan::engine::text {

// A parsed JSON value that keeps what a sorted map of doubles would lose: the order of keys (a
// prompt prints tools in the client's order) and the digits of numbers.
class JsonValue {
 public:
  using Array = std::vector<JsonValue>;
  using Member = std::pair<std::string, JsonValue>;
  using Object = std::vector<Member>;  // Keys are unique: the last value, at the first's place.
  struct Number {
    std::string text;  // As written, or as the shortest text of an integer.
  };

  JsonValue() = default;
  explicit JsonValue(bool value) : value_(value) {}
  explicit JsonValue(Number value) : value_(std::move(value)) {}
  explicit JsonValue(std::string value) : value_(std::move(value)) {}
  explicit JsonValue(Array value) : value_(std::move(value)) {}
  explicit JsonValue(Object value) : value_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  const bool* boolean() const { return std::get_if<bool>(&value_); }
  const Number* number() const { return std::get_if<Number>(&value_); }
  const std::string* string() const { return std::get_if<std::string>(&value_); }
  const Array* array() const { return std::get_if<Array>(&value_); }
  const Object* object() const { return std::get_if<Object>(&value_); }

  // The number's value; an integer when it has one (5, 5.0 and 5e0 have), in the range of int64.
  std::optional<double> AsDouble() const;
  std::optional<std::int64_t> AsInteger() const;

  // The member of that name. Null when this is no object, has no such member, or it is JSON null:
  // for requests null means absent.
  const JsonValue* Find(std::string_view name) const;

  // JSON text with ", " and ": " between, non-ASCII characters as they are, numbers as written.
  std::string ToText() const;
  // The same, but numbers as Python's json.dumps prints them: how the model's prompts hold JSON.
  std::string ToPythonText() const;

 private:
  enum class NumberForm { kAsWritten, kPython };
  void AppendText(NumberForm form, std::string* out) const;

  std::variant<std::monostate, bool, Number, std::string, Array, Object> value_;
};

struct JsonLimits {
  std::size_t depth_max = 128;
  std::size_t values_max = std::size_t{4} << 20;
};

// Parses one JSON text in UTF-8; numbers may have any size up to 1e4932. An escape of half a
// surrogate pair reads as U+FFFD. On failure returns nothing and says why, with the byte's place,
// in *error.
std::optional<JsonValue> ParseJson(std::string_view text,
                                   const JsonLimits& limits,
                                   std::string* error);

// Appends `text` as a JSON string with quotes. Bytes that are no UTF-8 become U+FFFD.
void AppendJsonString(std::string_view text, std::string* out);

// The inside of such a string. `text` is valid UTF-8; it may be a part of the whole, cut between
// characters.
void AppendJsonEscaped(std::string_view text, std::string* out);

}  // namespace sparkspan::engine::text
