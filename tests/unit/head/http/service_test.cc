#include "head/http/service.h"

#include <array>

#include "tests/unit/head/http/service_fixture.h"

// Transcripts over real HTTP on loopback, with a scripted engine.
namespace sparkspan::head::http {
namespace {

TEST_F(ServiceTest, StreamedAndWholeAnswersSayTheSame) {
  Start();
  for (const std::string text : {"because#Paris.",
                                 "#Paris \xF0\x9F\x98\x80!",
                                 "r#text<{\"a\": 1}>",
                                 "r#<{\"a\": 1}><{\"b\": 2}>",
                                 "#"}) {
    for (const std::size_t step : {1u, 2u, 3u, 100u}) {
      generator_.SetScript(Says(text, step));
      const json whole = Chat();
      const json& message = whole["choices"][0]["message"];
      const std::vector<json> events = Stream({{"stream_options", {{"include_usage", true}}}});
      const Joined joined = Join(events);
      const std::string content =
          message["content"].is_null() ? "" : message["content"].get<std::string>();
      EXPECT_EQ(joined.content, content) << text << step;
      EXPECT_EQ(joined.reasoning, message.value("reasoning", "")) << text << step;
      EXPECT_EQ(joined.finish_reason, whole["choices"][0]["finish_reason"]) << text << step;
      EXPECT_EQ(joined.finishes, 1);
      EXPECT_EQ(joined.roles, 1);
      const json calls = message.value("tool_calls", json::array());
      ASSERT_EQ(joined.calls.size(), calls.size());
      for (std::size_t i = 0; i < calls.size(); ++i) {
        EXPECT_EQ(joined.calls.at(static_cast<int>(i))["arguments"],
                  calls[i]["function"]["arguments"]);
      }
      EXPECT_EQ(events.back()["usage"], whole["usage"]);
      EXPECT_TRUE(events.back()["choices"].empty());
      EXPECT_EQ(whole["usage"]["completion_tokens"], Script(text).size() + 1);
    }
  }
}

TEST_F(ServiceTest, ThinkingOffLeavesNoReasoningKeys) {
  Start();
  generator_.SetScript(Says("Paris."));
  const json whole = Chat({{"reasoning_effort", "none"}});
  const json& message = whole["choices"][0]["message"];
  EXPECT_EQ(message["content"], "Paris.");
  EXPECT_FALSE(message.contains("reasoning"));
  EXPECT_FALSE(message.contains("reasoning_content"));
  EXPECT_EQ(whole["usage"]["completion_tokens_details"]["reasoning_tokens"], 0);
  EXPECT_EQ(whole["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(whole["choices"][0]["stop_reason"].is_null());
}

TEST_F(ServiceTest, EndsBeforeAStopStringThatStraddlesTokens) {
  Start();
  generator_.SetScript(Says("no STOP here#one STOP two", 3));
  for (const bool stream : {false, true}) {
    std::string content;
    std::string reason;
    json stop_reason;
    if (stream) {
      const std::vector<json> events = Stream({{"stop", "STOP"}});
      content = Join(events).content;
      stop_reason = events.back()["choices"][0]["stop_reason"];
    } else {
      const json whole = Chat({{"stop", {"STOP"}}});
      content = whole["choices"][0]["message"]["content"];
      stop_reason = whole["choices"][0]["stop_reason"];
    }
    EXPECT_EQ(content, "one ");
    EXPECT_EQ(stop_reason, "STOP");
    EXPECT_TRUE(generator_.LastStream()->cancelled());
  }
  EXPECT_EQ(Chat({{"stop", "STOP"},
                  {"include_stop_str_in_output", true}})["choices"][0]["message"]["content"],
            "one STOP");
}

TEST_F(ServiceTest, ListsEveryTokenWithItsLogprobs) {
  Start();
  generator_.SetScript(Says("r#\xF0\x9F\x98\x80", 2));
  const json fields = {{"logprobs", true}, {"top_logprobs", 2}, {"return_token_ids", true}};
  const json whole = Chat(fields)["choices"][0];
  ASSERT_EQ(whole["logprobs"]["content"].size(), 7u);
  EXPECT_EQ(whole["logprobs"]["content"][2]["bytes"], json({0xF0}));
  EXPECT_EQ(whole["logprobs"]["content"][0]["top_logprobs"][1]["token"], "A");
  json streamed = json::array();
  json ids = json::array();
  for (const json& event : Stream(fields)) {
    for (const json& choice : event["choices"]) {
      if (!choice["logprobs"].is_null()) {
        for (const json& entry : choice["logprobs"]["content"]) {
          streamed.push_back(entry);
        }
      }
      for (const json& id : choice.value("token_ids", json::array())) {
        ids.push_back(id);
      }
    }
  }
  EXPECT_EQ(streamed, whole["logprobs"]["content"]);
  EXPECT_EQ(ids, whole["token_ids"]);
  EXPECT_EQ(ids.size(), 7u);
}

TEST_F(ServiceTest, CompletesText) {
  Start();
  generator_.SetScript(Says("abc", 2, api::FinishReason::kLength));
  const httplib::Result result =
      Post("/v1/completions", {{"prompt", "xy"}, {"logprobs", 1}, {"echo", false}});
  ASSERT_EQ(result->status, 200) << result->body;
  const json whole = json::parse(result->body);
  EXPECT_EQ(whole["object"], "text_completion");
  EXPECT_EQ(whole["choices"][0]["text"], "abc");
  EXPECT_EQ(whole["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(whole["choices"][0]["logprobs"]["text_offset"], json({0, 1, 2}));
  EXPECT_EQ(generator_.LastRequest().max_tokens, 16);
  std::string text;
  for (const json& event : Stream({{"prompt", {120, 121}}, {"echo", true}}, "/v1/completions")) {
    text += event["choices"][0]["text"].get<std::string>();
  }
  EXPECT_EQ(text, "xyabc");
}

TEST_F(ServiceTest, RefusesOverflowAndClampsLimits) {
  Start();
  generator_.SetScript(Says("#ok"));
  Chat({{"max_tokens", 32000}});
  EXPECT_EQ(generator_.LastRequest().max_tokens, kContext - 6);
  const std::string fits(kContext - 1, 'x');
  EXPECT_EQ(Post("/v1/completions", {{"prompt", fits}})->status, 200);
  EXPECT_EQ(generator_.LastRequest().max_tokens, 1);
  const httplib::Result over = Post("/v1/completions", {{"prompt", fits + "x"}, {"max_tokens", 5}});
  EXPECT_EQ(over->status, 400);
  const json error = json::parse(over->body)["error"];
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_EQ(error["param"], "prompt");
  EXPECT_EQ(error["message"],
            "This model's maximum context length is 100 tokens. However, you requested 105 tokens "
            "(100 in the messages, 5 in the completion). Please reduce the length of the messages "
            "or completion.");
}

TEST_F(ServiceTest, CancelsWhenAClientLeavesAStream) {
  Start();
  generator_.SetScript([](const api::GenerationRequest&, api::GenerationStream& stream) {
    stream.Push(TokensEvent(Script("#a")));
  });
  RawClient client(server_->port(), "/v1/chat/completions", ChatFields(true));
  ASSERT_TRUE(client.ReadUntil("\"content\":\"a\""));
  EXPECT_FALSE(generator_.LastStream()->cancelled());
  client.Leave();
  EXPECT_TRUE(Eventually([&] { return generator_.LastStream()->cancelled(); }));
  EXPECT_TRUE(Eventually([&] {
    return client_->Get("/metrics")->body.find("finished_reason=\"abort\"} 1.0") !=
           std::string::npos;
  }));
}

TEST_F(ServiceTest, CancelsWhenAClientLeavesWhileQueued) {
  Start();
  for (const bool stream : {false, true}) {
    const auto before = generator_.LastStream();
    RawClient client(server_->port(), "/v1/chat/completions", ChatFields(stream));
    ASSERT_TRUE(Eventually([&] { return generator_.LastStream() != before; }));
    EXPECT_FALSE(generator_.LastStream()->cancelled());
    client.Leave();
    EXPECT_TRUE(Eventually([&] { return generator_.LastStream()->cancelled(); })) << stream;
  }
}

TEST_F(ServiceTest, ReportsAFaultInsideAStream) {
  Start();
  generator_.SetScript([](const api::GenerationRequest&, api::GenerationStream& stream) {
    stream.Push(TokensEvent(Script("#a")));
    api::GenerationEvent event;
    event.finish = api::GenerationFinish{.reason = api::FinishReason::kError,
                                         .token = {},
                                         .error = absl::InternalError("rank 1 at 10.0.0.2 died")};
    stream.Push(event);
  });
  const std::vector<json> events = Stream(json::object());
  EXPECT_EQ(events.back()["error"]["code"], "internal_error");
  EXPECT_EQ(events.back().dump().find("10.0.0.2"), std::string::npos) << "internals leak";
  EXPECT_EQ(Chat({}, 500)["error"]["type"], "server_error");
}

TEST_F(ServiceTest, AnswersHealthWhenAllThreadsAreBusy) {
  ServerOptions server_options;
  server_options.threads = 2;
  Start({}, server_options);
  RawClient first(server_->port(), "/v1/chat/completions", ChatFields(true));
  RawClient second(server_->port(), "/v1/chat/completions", ChatFields(true));
  ASSERT_TRUE(first.ReadUntil("text/event-stream"));
  ASSERT_TRUE(second.ReadUntil("text/event-stream"));
  EXPECT_EQ(client_->Get("/health")->status, 200);
  const httplib::Result refused = Post("/v1/chat/completions", ChatFields(false));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 503);
  EXPECT_EQ(refused->get_header_value("Retry-After"), "1");
}

TEST_F(ServiceTest, DrainsAndThenGivesUp) {
  Start();
  RawClient client(server_->port(), "/v1/chat/completions", ChatFields(true));
  ASSERT_TRUE(client.ReadUntil("text/event-stream"));
  service_->BeginDrain();
  EXPECT_FALSE(generator_.LastStream()->cancelled());
  service_->AbortRunning();
  EXPECT_TRUE(client.ReadUntil("shutting_down"));
  EXPECT_TRUE(client.ReadUntil("[DONE]"));
  EXPECT_TRUE(generator_.LastStream()->cancelled());
}

TEST_F(ServiceTest, AnswersThatTheEngineEndedAreInFlightUntilTheyAreSent) {
  Start();
  EXPECT_EQ(service_->requests_in_flight(), 0);
  RawClient client(server_->port(), "/v1/chat/completions", ChatFields(true));
  ASSERT_TRUE(client.ReadUntil("text/event-stream"));
  service_->BeginDrain();
  const httplib::Result refused = Post("/v1/chat/completions", ChatFields(false));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 503);
  EXPECT_EQ(service_->requests_in_flight(), 1);
  // The engine says all along that nothing runs: that does not end the answer.
  ASSERT_EQ(generator_.Status().running, 0);
  Says("#end")({}, *generator_.LastStream());
  EXPECT_TRUE(Eventually([&] { return service_->requests_in_flight() == 0; }));
  service_->AbortRunning();
  EXPECT_TRUE(client.ReadUntil("[DONE]"));
  EXPECT_NE(client.seen().find("\"finish_reason\":\"stop\""), std::string::npos);
  EXPECT_EQ(client.seen().find("shutting_down"), std::string::npos);
}

TEST_F(ServiceTest, GivesUpAReaderThatIsTooSlow) {
  Start();
  RawClient client(server_->port(), "/v1/chat/completions", ChatFields(true));
  ASSERT_TRUE(client.ReadUntil("text/event-stream"));
  const auto stream = generator_.LastStream();
  // The engine is never held up: its pushes return, until one says that the stream is over.
  const std::vector<engine::Token> tokens(20000, 'x');
  bool taken = true;
  for (int i = 0; i < 2000 && taken; ++i) {
    taken = stream->Push(TokensEvent(tokens));
  }
  EXPECT_FALSE(taken);
  EXPECT_TRUE(stream->cancelled());
  EXPECT_TRUE(stream->overflowed());
}

TEST_F(ServiceTest, KeepsSilentStreamsAlive) {
  ServiceOptions options;
  options.keep_alive_interval = std::chrono::milliseconds(1);
  Start(options);
  RawClient client(server_->port(), "/v1/chat/completions", ChatFields(true));
  EXPECT_TRUE(client.ReadUntil(": keep-alive\n\n"));
}

TEST_F(ServiceTest, EndsAfterTheFirstCallWithoutParallelCalls) {
  Start();
  generator_.SetScript(Says("#<{}><{}>"));
  const json choice = Chat({{"parallel_tool_calls", false}})["choices"][0];
  EXPECT_EQ(choice["message"]["tool_calls"].size(), 1u);
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_TRUE(generator_.LastStream()->cancelled());
}

TEST_F(ServiceTest, PassesSamplingOn) {
  Start();
  generator_.SetScript(Says("#ok"));
  Chat({{"temperature", 0.5},
        {"top_k", 7},
        {"seed", 9},
        {"min_tokens", 2},
        {"stop_token_ids", {5}}});
  const api::GenerationRequest request = generator_.LastRequest();
  EXPECT_EQ(request.sampling.temperature, 0.5f);
  EXPECT_EQ(request.sampling.top_k, 7);
  EXPECT_EQ(request.sampling.seed, 9u);
  EXPECT_EQ(request.sampling.acceptance, engine::runtime::AcceptanceRule::kSharedNoise);
  EXPECT_EQ(request.sampling.suppressed_until_min_tokens, (std::vector<engine::Token>{kEos, 5}));
  EXPECT_EQ(request.eos_token_ids, (std::vector<engine::Token>{kEos}));
  Chat({{"ignore_eos", true}});
  EXPECT_TRUE(generator_.LastRequest().eos_token_ids.empty());
}

TEST_F(ServiceTest, TokenizesBothWays) {
  Start();
  json answer = json::parse(Post("/tokenize", {{"prompt", "ab"}})->body);
  EXPECT_EQ(answer["tokens"], json({97, 98}));
  EXPECT_EQ(answer["count"], 2);
  EXPECT_EQ(answer["max_model_len"], kContext);
  answer = json::parse(Post("/tokenize", {{"content", "a"}, {"with_pieces", true}})->body);
  EXPECT_EQ(answer["tokens"][0]["piece"], "a");
  answer = json::parse(Post("/detokenize", {{"tokens", {97, 98}}})->body);
  EXPECT_EQ(answer["prompt"], "ab");
  answer = json::parse(Post("/apply-template", ChatFields(false))->body);
  EXPECT_EQ(answer["prompt"], "x?");
  EXPECT_EQ(Post("/tokenize", {{"x", 1}})->status, 400);
  EXPECT_EQ(Post("/v1/embeddings", {{"input", "x"}})->status, 400);
  for (const char* path : {"/",
                           "/status.json",
                           "/version",
                           "/props",
                           "/get_server_info",
                           "/ping",
                           "/ready",
                           "/v1/models",
                           "/models"}) {
    EXPECT_EQ(client_->Get(path)->status, 200) << path;
  }
}

TEST_F(ServiceTest, LimitsBodies) {
  ServerOptions server_options;
  server_options.body_bytes_max = 1000;
  Start({}, server_options);
  generator_.SetScript(Says("#ok"));
  EXPECT_EQ(client_->Post("/v1/completions", std::string(1001, ' '), "application/json")->status,
            413);
  const auto chunked = [&](std::size_t bytes) {
    return client_->Post(
        "/v1/completions",
        [bytes](std::size_t offset, httplib::DataSink& sink) {
          const std::string part = offset == 0 ? R"({"prompt":"x"})" : std::string(100, ' ');
          sink.write(part.data(), part.size());
          if (offset >= bytes) {
            sink.done();
          }
          return true;
        },
        "application/json");
  };
  EXPECT_EQ(chunked(500)->status, 200);
  EXPECT_EQ(chunked(5000)->status, 413);
  EXPECT_EQ(client_->Post("/v1/completions", "not json", "text/plain")->status, 400);
}

TEST_F(ServiceTest, AnswersErrorsInOpenAisForm) {
  ServiceOptions options;
  options.api_keys = {"secret"};
  Start(options);
  EXPECT_EQ(client_->Get("/v1/models")->status, 401);
  EXPECT_EQ(client_->Get("/health")->status, 200);
  EXPECT_EQ(client_->Get("/metrics")->status, 200);
  for (const auto& header : {std::pair<std::string, std::string>{"Authorization", "bearer secret"},
                             {"x-api-key", "secret"}}) {
    EXPECT_EQ(client_->Get("/v1/models", httplib::Headers{header})->status, 200);
  }
  EXPECT_EQ(client_->Get("/v1/models", {{"Authorization", "Bearer wrong"}})->status, 401);
  const httplib::Result options_answer =
      client_->Options("/v1/chat/completions", {{"Access-Control-Request-Headers", "x-special"}});
  EXPECT_EQ(options_answer->status, 204);
  EXPECT_EQ(options_answer->get_header_value("Access-Control-Allow-Headers"), "x-special");
  EXPECT_EQ(options_answer->get_header_value("Access-Control-Allow-Origin"), "*");
  const httplib::Headers key = {{"Authorization", "Bearer secret"}, {"X-Request-Id", "mine-7"}};
  const httplib::Result missing = client_->Get("/nothing", key);
  EXPECT_EQ(missing->status, 404);
  EXPECT_EQ(missing->get_header_value("X-Request-Id"), "mine-7");
  const httplib::Result wrong = client_->Get("/v1/chat/completions", key);
  EXPECT_EQ(wrong->status, 405);
  EXPECT_EQ(wrong->get_header_value("Allow"), "POST");
  EXPECT_EQ(client_->Get("/v1/models/demo", key)->status, 200);
  const httplib::Result unknown = client_->Get("/v1/models/other", key);
  EXPECT_EQ(unknown->status, 404);
  EXPECT_EQ(json::parse(unknown->body)["error"]["code"], "model_not_found");
  EXPECT_EQ(client_->Get("/health")->get_header_value("X-Request-Id").size(), 32u);
}

TEST_F(ServiceTest, SaysWhenToComeBack) {
  Start();
  generator_.SetSubmitStatus(absl::ResourceExhaustedError("The queue is full."));
  const json full = Chat({}, 429);
  EXPECT_EQ(full["error"]["code"], "queue_full");
  EXPECT_EQ(last_headers_.count("Retry-After"), 1u);
  api::EngineStatus loading;
  generator_.SetStatus(loading);
  EXPECT_EQ(Chat({}, 503)["error"]["code"], "model_loading");
  EXPECT_EQ(last_headers_.find("Retry-After")->second, "5");
  EXPECT_EQ(client_->Get("/health")->status, 503);
  EXPECT_EQ(client_->Get("/live")->status, 200);
  loading.state = api::EngineState::kReady;
  generator_.SetStatus(loading);
  service_->BeginDrain();
  EXPECT_EQ(Chat({}, 503)["error"]["code"], "shutting_down");
}

}  // namespace
}  // namespace sparkspan::head::http
