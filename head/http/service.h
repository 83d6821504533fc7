#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "head/api/generation.h"
#include "head/api/request.h"
#include "head/api/text_codec.h"
#include "head/http/api_keys.h"
#include "head/http/server.h"
#include "head/http/session.h"
#include "head/status/metrics.h"

namespace sparkspan::head::http {

struct ServiceOptions {
  std::vector<std::string> api_keys;
  std::vector<std::string> allowed_origins = {"*"};
  std::chrono::milliseconds keep_alive_interval{15'000};  // Comments in silent streams; 0: none.
  std::string version;
};

// The HTTP API: which path does what, who may, and how an answer comes about. Handle() is
// thread-safe. What is passed by reference must outlive the service and its responses.
class Service {
 public:
  Service(api::ServedModel model,
          ServiceOptions options,
          const api::TextCodec& codec,
          api::Generator& generator,
          status::Metrics& metrics,
          const engine::Clock& clock);

  HttpResponse Handle(const HttpRequest& request, const Connection& client, bool overloaded);

  // From now on new requests are refused and health says so; those in flight go on.
  void BeginDrain() { draining_ = true; }
  // Requests for text that were taken and whose answers are not complete: a stream counts until its
  // last event was sent, also when the engine is long done with it. Those that are about to be
  // refused count too, so 0 after BeginDrain() means that none is left.
  std::int64_t requests_in_flight() const { return in_flight_; }
  // Ends what still runs with an error.
  void AbortRunning() { aborting_ = true; }

 private:
  struct Call {
    const HttpRequest& request;
    const Connection& client;
    std::string request_id;
  };
  using Endpoint = HttpResponse (Service::*)(const Call& call);
  struct Route {
    std::string method;
    std::string path;
    Endpoint endpoint;
    bool cheap = false;  // Answered also when the pool is full.
  };

  static std::vector<Route> MakeRoutes();
  static bool Matches(const Route& route, const std::string& path);
  HttpResponse Dispatch(const Call& call, bool overloaded, std::string* handler);
  const Route* FindRoute(const std::string& method, const std::string& path) const;
  std::string AllowedMethods(const std::string& path) const;
  bool NeedsKey(const std::string& path) const;
  void AddCommonHeaders(const HttpRequest& request,
                        const std::string& request_id,
                        HttpResponse* response) const;

  HttpResponse Chat(const Call& call);
  HttpResponse Completion(const Call& call);
  HttpResponse Tokenize(const Call& call);
  HttpResponse Detokenize(const Call& call);
  HttpResponse ApplyTemplate(const Call& call);
  HttpResponse ListModels(const Call& call);
  HttpResponse OneModel(const Call& call);
  HttpResponse Live(const Call& call);
  HttpResponse Health(const Call& call);
  HttpResponse Version(const Call& call);
  HttpResponse Props(const Call& call);
  HttpResponse ServerInfo(const Call& call);
  HttpResponse MetricsPage(const Call& call);
  HttpResponse StatusJsonPage(const Call& call);
  HttpResponse Root(const Call& call);
  HttpResponse FlushCache(const Call& call);
  HttpResponse UnsupportedEndpoint(const Call& call);

  // A request that counts as in flight. Made before NotReady() is asked, so that who drains sees
  // every request that is taken.
  std::unique_ptr<SessionParts> TakeIn();
  // Why nothing can be generated now, if so.
  std::optional<api::ApiError> NotReady() const;
  // Checks the length, fills `parts` and queues the generation; then answers.
  HttpResponse Generate(const Call& call, std::unique_ptr<SessionParts> parts);
  // Queues a generation for each of the n choices, or none: then why not.
  std::optional<api::ApiError> SubmitAll(const Call& call, SessionParts* parts);
  api::GenerationRequest MakeGeneration(const Call& call,
                                        const SessionParts& parts,
                                        std::int32_t choice) const;
  api::OrError<std::vector<engine::Token>> EncodePrompt(std::string_view text,
                                                        const std::string& param,
                                                        std::int64_t max_tokens) const;
  HttpResponse AnswerWhole(const Call& call, std::unique_ptr<Session> session);
  HttpResponse AnswerStream(std::unique_ptr<Session> session);
  std::string ModelJson(const std::string& name) const;

  const api::ServedModel model_;
  const ApiKeys keys_;
  const ServiceOptions options_;  // without the keys
  const api::TextCodec& codec_;
  api::Generator& generator_;
  status::Metrics& metrics_;
  const engine::Clock& clock_;
  const std::vector<Route> routes_;
  std::atomic<std::int64_t> in_flight_{0};
  std::atomic<bool> draining_{false};
  std::atomic<bool> aborting_{false};
};

HttpResponse ErrorResponse(const api::ApiError& error);
// 32 random hex digits.
std::string RandomHex();

}  // namespace sparkspan::head::http
