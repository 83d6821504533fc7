#include "head/http/service.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"

// Who may do what: routes, keys, and the headers that every answer carries.
namespace sparkspan::head::http {
namespace {

constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr std::string_view kModelPrefixShort = "/models/";

api::ApiError HttpError(int status, std::string code, std::string message) {
  api::ApiError error;
  error.status = status;
  error.code = std::move(code);
  error.message = std::move(message);
  if (status == 404) {
    error.type = "not_found_error";
  }
  return error;
}

bool HasUnreadBody(const HttpRequest& request) {
  return request.body_too_large || request.body_unreadable || request.body_incomplete;
}

api::ApiError BodyError(const HttpRequest& request) {
  if (request.body_too_large) {
    return HttpError(413, "request_too_large", "The body is larger than this server accepts.");
  }
  if (request.body_unreadable) {
    return HttpError(415,
                     "unsupported_media_type",
                     "The body's encoding is not supported; send plain or gzip JSON.");
  }
  return HttpError(400, "invalid_value", "The body ended early or is not encoded as declared.");
}

// Of a request that no route has seen.
api::ApiError RefusalError(int status) {
  switch (status) {
    case 408:
      return HttpError(408, "request_timeout", "The request came too slowly.");
    case 414:
      return HttpError(414, "uri_too_long", "The request's path is longer than this server reads.");
    case 500:
      return api::FromStatus(absl::InternalError("the request could not be served"), 1);
    case 503:
      return api::Unavailable(
          "overloaded", "All connections of this server are in use, or it is stopping.", 1);
    default:
      return HttpError(status, "bad_request", "The request is not valid HTTP.");
  }
}

}  // namespace

std::string RandomHex() {
  std::array<unsigned char, 16> bytes;
  CHECK(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1) << "no random bytes";
  std::string hex;
  for (const unsigned char byte : bytes) {
    hex += absl::StrFormat("%02x", byte);
  }
  return hex;
}

HttpResponse ErrorResponse(const api::ApiError& error) {
  HttpResponse response;
  response.status = error.status;
  response.body = api::ErrorBody(error);
  if (error.retry_after_seconds.has_value()) {
    const std::string seconds = std::to_string(*error.retry_after_seconds);
    response.headers.emplace_back("Retry-After", seconds);
    response.headers.emplace_back("retry-after-ms", seconds + "000");
  }
  return response;
}

Service::Service(api::ServedModel model,
                 ServiceOptions options,
                 const api::TextCodec& codec,
                 api::Generator& generator,
                 status::Metrics& metrics,
                 const engine::Clock& clock)
    : model_(std::move(model)),
      keys_(std::exchange(options.api_keys, {})),  // Their hashes are all that stays.
      options_(std::move(options)),
      codec_(codec),
      generator_(generator),
      metrics_(metrics),
      clock_(clock),
      routes_(MakeRoutes()) {
  CHECK(!model_.names.empty()) << "a served model needs a name";
}

std::vector<Service::Route> Service::MakeRoutes() {
  std::vector<Route> routes = {{"GET", "/", &Service::Root, true},
                               {"GET", "/health", &Service::Health, true},
                               {"GET", "/ready", &Service::Health, true},
                               {"GET", "/ping", &Service::Health, true},
                               {"GET", "/live", &Service::Live, true},
                               {"GET", "/metrics", &Service::MetricsPage, true},
                               {"GET", "/status", &Service::Root, true},
                               {"GET", "/status.json", &Service::StatusJsonPage, true},
                               {"GET", "/version", &Service::Version, true},
                               {"GET", "/props", &Service::Props, true},
                               {"GET", "/get_server_info", &Service::ServerInfo, true},
                               {"GET", "/server_info", &Service::ServerInfo, true},
                               {"POST", "/flush_cache", &Service::FlushCache, true},
                               {"POST", "/tokenize", &Service::Tokenize},
                               {"POST", "/v1/tokenize", &Service::Tokenize},
                               {"POST", "/detokenize", &Service::Detokenize},
                               {"POST", "/v1/detokenize", &Service::Detokenize},
                               {"POST", "/apply-template", &Service::ApplyTemplate},
                               {"POST", "/v1/chat/completions/render", &Service::ApplyTemplate},
                               {"GET", std::string(kModelPrefix), &Service::OneModel, true},
                               {"GET", std::string(kModelPrefixShort), &Service::OneModel, true}};
  for (const std::string prefix : {"", "/v1"}) {
    routes.push_back({"GET", prefix + "/models", &Service::ListModels, true});
    routes.push_back({"POST", prefix + "/chat/completions", &Service::Chat});
    routes.push_back({"POST", prefix + "/completions", &Service::Completion});
  }
  for (const char* path : {"/v1/embeddings",
                           "/v1/rerank",
                           "/v1/score",
                           "/v1/responses",
                           "/v1/messages",
                           "/v1/messages/count_tokens",
                           "/pooling",
                           "/classify"}) {
    routes.push_back({"POST", path, &Service::UnsupportedEndpoint});
  }
  for (const char* prefix : {"/v1/audio/", "/v1/images/"}) {
    routes.push_back({"POST", prefix, &Service::UnsupportedEndpoint});
  }
  return routes;
}

// A route whose path ends in a slash takes everything below it.
bool Service::Matches(const Route& route, const std::string& path) {
  const bool takes_below = route.path.size() > 1 && route.path.back() == '/';
  return path == route.path || (takes_below && path.starts_with(route.path));
}

const Service::Route* Service::FindRoute(const std::string& method, const std::string& path) const {
  const std::string& wanted = method == "HEAD" ? "GET" : method;
  for (const Route& route : routes_) {
    if (route.method == wanted && Matches(route, path)) {
      return &route;
    }
  }
  return nullptr;
}

std::string Service::AllowedMethods(const std::string& path) const {
  std::string allowed;
  for (const Route& route : routes_) {
    if (Matches(route, path)) {
      allowed += (allowed.empty() ? "" : ", ") + route.method;
    }
  }
  return allowed;
}

bool Service::NeedsKey(const std::string& path) const {
  if (path.starts_with("/v1")) {
    return true;
  }
  constexpr std::array<std::string_view, 11> kGuarded = {"/status.json",
                                                         "/tokenize",
                                                         "/detokenize",
                                                         "/flush_cache",
                                                         "/props",
                                                         "/apply-template",
                                                         "/chat/completions",
                                                         "/completions",
                                                         "/models",
                                                         "/pooling",
                                                         "/classify"};
  return std::find(kGuarded.begin(), kGuarded.end(), path) != kGuarded.end() ||
         path.starts_with(kModelPrefixShort);
}

bool Service::MayUse(const HttpRequest& request) const {
  return keys_.Accept(request.Header("Authorization"), request.Header("x-api-key"));
}

HttpResponse Service::Handle(const HttpRequest& request,
                             const Connection& client,
                             bool overloaded) {
  const engine::Time begin = clock_.Now();
  const std::string_view asked = request.Header("X-Request-Id");
  const bool is_named = api::IsRequestId(asked);
  Call call = {request, client, is_named ? std::string(asked) : RandomHex(), is_named};
  std::string handler = "none";
  HttpResponse response = Dispatch(call, overloaded, &handler);
  AddCommonHeaders(request, call.request_id, &response);
  metrics_.CountHttp(request.method,
                     handler,
                     response.status,
                     std::chrono::duration<double>(clock_.Now() - begin).count());
  return response;
}

HttpResponse Service::Dispatch(Call& call, bool overloaded, std::string* handler) {
  const HttpRequest& request = call.request;
  if (request.refused_status != 0) {
    if (request.refused_status == 503) {
      metrics_.CountRejection("connections");
    }
    return ErrorResponse(RefusalError(request.refused_status));
  }
  if (request.method == "OPTIONS") {
    HttpResponse response;
    response.status = 204;
    return response;
  }
  if (NeedsKey(request.path) && !MayUse(request)) {
    return ErrorResponse(api::Unauthorised());
  }
  const Route* route = FindRoute(request.method, request.path);
  if (route == nullptr) {
    const std::string allowed = AllowedMethods(request.path);
    if (allowed.empty()) {
      return ErrorResponse(
          HttpError(404, "not_found", absl::StrFormat("There is no '%s' here.", request.path)));
    }
    HttpResponse response = ErrorResponse(HttpError(
        405,
        "method_not_allowed",
        absl::StrFormat("'%s' takes %s, not %s.", request.path, allowed, request.method)));
    response.headers.emplace_back("Allow", allowed);
    return response;
  }
  *handler = route->path;
  if (overloaded && !route->cheap) {
    metrics_.CountRejection("connections");
    return ErrorResponse(RefusalError(503));
  }
  if (HasUnreadBody(request)) {
    return ErrorResponse(BodyError(request));
  }
  return (this->*route->endpoint)(call);
}

void Service::AddCommonHeaders(const HttpRequest& request,
                               const std::string& request_id,
                               HttpResponse* response) const {
  auto& headers = response->headers;
  headers.emplace_back("X-Request-Id", request_id);
  const auto& origins = options_.allowed_origins;
  const std::string origin(request.Header("Origin"));
  if (std::find(origins.begin(), origins.end(), "*") != origins.end()) {
    headers.emplace_back("Access-Control-Allow-Origin", "*");
  } else if (std::find(origins.begin(), origins.end(), origin) != origins.end()) {
    headers.emplace_back("Access-Control-Allow-Origin", origin);
    headers.emplace_back("Vary", "Origin");
  } else {
    return;
  }
  headers.emplace_back("Access-Control-Expose-Headers", "X-Request-Id");
  if (request.method == "OPTIONS") {
    const std::string_view asked = request.Header("Access-Control-Request-Headers");
    headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    headers.emplace_back("Access-Control-Allow-Headers", asked.empty() ? "*" : std::string(asked));
    headers.emplace_back("Access-Control-Max-Age", "600");
  }
}

}  // namespace sparkspan::head::http
