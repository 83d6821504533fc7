#include "head/api/error.h"

#include "absl/strings/str_format.h"
#include "head/api/json.h"

namespace sparkspan::head::api {
namespace {

ApiError BadRequest(std::string code, std::string param, std::string message) {
  ApiError error;
  error.code = std::move(code);
  error.param = std::move(param);
  error.message = std::move(message);
  return error;
}

}  // namespace

std::string ErrorBody(const ApiError& error) {
  JsonWriter json;
  json.BeginObject().Key("error").BeginObject();
  json.Key("message").String(error.message).Key("type").String(error.type).Key("param");
  if (error.param.empty()) {
    json.Null();
  } else {
    json.String(error.param);
  }
  json.Key("code").String(error.code).EndObject().EndObject();
  return json.Take();
}

ApiError InvalidValue(std::string param, std::string message) {
  return BadRequest("invalid_value", std::move(param), std::move(message));
}

ApiError MissingParameter(std::string param) {
  std::string message = absl::StrFormat("Missing required parameter: '%s'.", param);
  return BadRequest("missing_required_parameter", std::move(param), std::move(message));
}

ApiError Unsupported(std::string param, std::string message) {
  return BadRequest("unsupported_parameter", std::move(param), std::move(message));
}

ApiError UnsupportedContent(std::string param, std::string message) {
  return BadRequest("unsupported_content", std::move(param), std::move(message));
}

ApiError UnknownModel(std::string_view model) {
  ApiError error = BadRequest(
      "model_not_found", "model", absl::StrFormat("The model `%s` does not exist.", model));
  error.status = 404;
  error.type = "not_found_error";
  return error;
}

ApiError Unauthorised() {
  ApiError error = BadRequest("invalid_api_key",
                              "",
                              "The API key is missing or wrong. Send it as 'Authorization: Bearer "
                              "KEY' or 'x-api-key: KEY'.");
  error.status = 401;
  error.type = "authentication_error";
  return error;
}

// Agents match on this text: it must not change by a letter.
ApiError ContextOverflow(std::string param,
                         std::int64_t context_length,
                         std::int64_t prompt_tokens,
                         std::int64_t max_tokens) {
  return BadRequest(
      "context_length_exceeded",
      std::move(param),
      absl::StrFormat("This model's maximum context length is %d tokens. However, you requested "
                      "%d tokens (%d in the messages, %d in the completion). Please reduce the "
                      "length of the messages or completion.",
                      context_length,
                      prompt_tokens + max_tokens,
                      prompt_tokens,
                      max_tokens));
}

ApiError Unavailable(std::string code, std::string message, std::int32_t retry_after_seconds) {
  ApiError error = BadRequest(std::move(code), "", std::move(message));
  error.status = 503;
  error.type = "service_unavailable_error";
  error.retry_after_seconds = retry_after_seconds;
  return error;
}

ApiError FromStatus(const absl::Status& status, std::int32_t retry_after_seconds) {
  const std::string message(status.message());
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return InvalidValue("", message);
    case absl::StatusCode::kResourceExhausted: {
      ApiError error = BadRequest("queue_full", "", message);
      error.status = 429;
      error.type = "rate_limit_error";
      error.retry_after_seconds = retry_after_seconds;
      return error;
    }
    case absl::StatusCode::kUnavailable:
      return Unavailable("unavailable", message, 5);
    case absl::StatusCode::kDeadlineExceeded:
      return Unavailable("queue_timeout", message, retry_after_seconds);
    default: {
      ApiError error = BadRequest(
          "internal_error", "", "The server could not finish this request; its log says why.");
      error.status = 500;
      error.type = "server_error";
      return error;
    }
  }
}

}  // namespace sparkspan::head::api
