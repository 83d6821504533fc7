#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/ids.h"
#include "head/api/error.h"
#include "head/api/json.h"

namespace sparkspan::head::api {

// Reads typed fields of a JSON object. The first fault is kept and names its field; later reads
// return nothing. Null and absent are the same. An integer field takes 5.0, never "5" or true.
class FieldReader {
 public:
  // `object` must outlive the reader. `path` is put before the names in faults.
  explicit FieldReader(const JsonValue& object, std::string path = "")
      : object_(object), path_(std::move(path)) {}

  const JsonValue& root() const { return object_; }
  bool ok() const { return !error_.has_value(); }
  const std::optional<ApiError>& error() const { return error_; }
  void Fail(ApiError error);

  bool Has(std::string_view name) const { return object_.Find(name) != nullptr; }
  std::string Path(std::string_view name) const { return path_ + std::string(name); }

  std::optional<bool> Bool(std::string_view name);
  std::optional<std::int64_t> Integer(std::string_view name, std::int64_t min, std::int64_t max);
  std::optional<double> Number(std::string_view name, double min, double max);
  std::optional<std::string> String(std::string_view name);
  const JsonValue* Object(std::string_view name);
  const JsonValue::Array* Array(std::string_view name);

  // A string or an array of 1..count_max strings, none of them empty.
  std::vector<std::string> Strings(std::string_view name, std::size_t count_max);
  // Ids in [0, vocabulary_size).
  std::vector<engine::Token> Tokens(std::string_view name, std::int32_t vocabulary_size);

 private:
  const JsonValue* FindForRead(std::string_view name) const;
  void FailType(std::string_view name, std::string_view expected);

  const JsonValue& object_;
  const std::string path_;
  std::optional<ApiError> error_;
};

}  // namespace sparkspan::head::api
