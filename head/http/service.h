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
    bool is_named = false;  // The id is the client's own, from the header.
  };
  using Endpoint = HttpResponse (Service::*)(Call& call);
  struct Route {
    std::string method;
    std::string path;
    Endpoint endpoint;
    bool cheap = false;  // Answered also when the pool is full.
  };

  static std::vector<Route> MakeRoutes();
  static bool Matches(const Route& route, const std::string& path);
  HttpResponse Dispatch(Call& call, bool overloaded, std::string* handler);
  const Route* FindRoute(const std::string& method, const std::string& path) const;
  std::string AllowedMethods(const std::string& path) const;
  bool NeedsKey(const std::string& path) const;
  // It has a key, or none is needed.
  bool MayUse(const HttpRequest& request) const;
  void AddCommonHeaders(const HttpRequest& request,
                        const std::string& request_id,
                        HttpResponse* response) const;

  HttpResponse Chat(Call& call);
  HttpResponse Completion(Call& call);
  HttpResponse Tokenize(Call& call);
  HttpResponse Detokenize(Call& call);
  HttpResponse ApplyTemplate(Call& call);
  HttpResponse ListModels(Call& call);
  HttpResponse OneModel(Call& call);
  HttpResponse Live(Call& call);
  HttpResponse Health(Call& call);
  HttpResponse Version(Call& call);
  HttpResponse Props(Call& call);
  HttpResponse ServerInfo(Call& call);
  HttpResponse MetricsPage(Call& call);
  HttpResponse StatusJsonPage(Call& call);
  HttpResponse Root(Call& call);
  HttpResponse FlushCache(Call& call);
  HttpResponse UnsupportedEndpoint(Call& call);

  // A request that counts as in flight. Made before NotReady() is asked, so that who drains sees
  // every request that is taken.
  std::unique_ptr<SessionParts> TakeIn();
  // The engine's, as far as clients may still use it.
  api::EngineReadiness Readiness() const;
  api::EngineStatus Status() const;
  // Of prompt and answer, as the configuration and the KV pool allow.
  std::int64_t ContextLength() const;
  // The header's id, else the body's, else a new one.
  static void NameRequest(const api::CommonRequest& common, Call* call, SessionParts* parts);
  // Why nothing can be generated now, if so.
  std::optional<api::ApiError> NotReady() const;
  // Checks the length, fills `parts` and queues the generation; then answers.
  HttpResponse Generate(const Call& call, std::unique_ptr<SessionParts> parts);
  // Makes the choices, each with its limit; or says which prompt leaves no room.
  std::optional<api::ApiError> MakeChoices(SessionParts* parts) const;
  // Queues a generation for each choice, or none: then why not.
  std::optional<api::ApiError> SubmitAll(SessionParts* parts);
  void MakeAnswers(SessionParts* parts) const;
  api::GenerationRequest MakeGeneration(const SessionParts& parts, std::size_t choice) const;
  api::OrError<std::vector<engine::Token>> EncodePrompt(std::string_view text,
                                                        const std::string& param,
                                                        std::int64_t max_tokens) const;
  api::OrError<std::vector<engine::Token>> EncodeCompletion(
      const api::CompletionRequest& request, const api::CompletionPrompt& prompt) const;
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
