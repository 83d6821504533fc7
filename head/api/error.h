#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/status/status.h"

namespace sparkspan::head::api {

// An answer that says what was wrong with a request, in OpenAI's form.
struct ApiError {
  int status = 400;
  std::string type = "invalid_request_error";
  std::string code = "invalid_value";
  std::string param;  // The field's path, for example "messages.3.content"; empty: null.
  std::string message;
  std::optional<std::int32_t> retry_after_seconds;
};

// {"error": {"message", "type", "param", "code"}}
std::string ErrorBody(const ApiError& error);

ApiError InvalidValue(std::string param, std::string message);
ApiError MissingParameter(std::string param);
ApiError Unsupported(std::string param, std::string message);
ApiError UnsupportedContent(std::string param, std::string message);
ApiError UnknownModel(std::string_view model);
ApiError Unauthorised();
ApiError ContextOverflow(std::string param,
                         std::int64_t context_length,
                         std::int64_t prompt_tokens,
                         std::int64_t max_tokens);
ApiError Unavailable(std::string code, std::string message, std::int32_t retry_after_seconds);

// The one table from an engine's status to an HTTP answer. Messages of kInternal and of codes that
// have no row stay inside: the client reads that it was an internal error.
ApiError FromStatus(const absl::Status& status, std::int32_t retry_after_seconds);

// A value, or why there is none.
template <typename T>
class OrError {
 public:
  OrError(T value) : value_(std::move(value)) {}         // NOLINT: implicit as StatusOr's
  OrError(ApiError error) : value_(std::move(error)) {}  // NOLINT

  bool ok() const { return std::holds_alternative<T>(value_); }
  const ApiError& error() const { return std::get<ApiError>(value_); }
  T& operator*() { return std::get<T>(value_); }
  const T& operator*() const { return std::get<T>(value_); }
  T* operator->() { return &std::get<T>(value_); }
  const T* operator->() const { return &std::get<T>(value_); }

 private:
  std::variant<T, ApiError> value_;
};

}  // namespace sparkspan::head::api
