#include <string>
#include <vector>

#include "tests/unit/head/http/service_fixture.h"

// What the engine is asked for, and what is made of its events.
namespace sparkspan::head::http {
namespace {

using GenerationTest = ServiceTest;

constexpr std::int64_t kPool = 40;  // tokens of one request that the KV pool holds

// The engine as a test wants it: with a pool smaller than the context of 100.
api::EngineStatus SmallPool() {
  api::EngineStatus status;
  status.state = api::EngineState::kReady;
  status.running_max = 4;
  status.waiting_max = 8;
  status.request_tokens_max = kPool;
  return status;
}

TEST_F(GenerationTest, CutsToWhatThePoolHoldsAndSaysThatLength) {
  Start();
  generator_.SetStatus(SmallPool());
  generator_.SetScript(Says("#ok"));
  Chat();  // "hello" and a mark
  EXPECT_EQ(generator_.LastRequest().max_tokens, kPool - 6);
  Chat({{"max_tokens", 1000}});
  EXPECT_EQ(generator_.LastRequest().max_tokens, kPool - 6);
  Chat({{"max_tokens", 3}});
  EXPECT_EQ(generator_.LastRequest().max_tokens, 3);
  const json model = json::parse(client_->Get("/v1/models")->body)["data"][0];
  EXPECT_EQ(model["max_model_len"], kPool);
  EXPECT_EQ(json::parse(client_->Get("/props")->body)["default_generation_settings"]["n_ctx"],
            kPool);
  EXPECT_EQ(json::parse(Post("/tokenize", {{"prompt", "ab"}})->body)["max_model_len"], kPool);
  for (const std::size_t length : {kPool, kPool + 100}) {
    const json refused = json::parse(
        Post("/v1/completions", {{"prompt", std::string(length, 'x')}, {"max_tokens", 1}})->body);
    EXPECT_EQ(refused["error"]["code"], "context_length_exceeded");
    EXPECT_NE(refused["error"]["message"].get<std::string>().find("length is 40 tokens"),
              std::string::npos);
  }
}

TEST_F(GenerationTest, AsksForTheCallThatMustBeMade) {
  Start();
  generator_.SetScript(Says("#<{}>"));
  const json tools = {{{"function", {{"name", "f"}}}}};
  Chat({{"tools", tools}, {"tool_choice", "required"}});
  const engine::runtime::ForcedTokens after_reasoning = {.after = kThinkEnd,
                                                         .tokens = {kCallBegin}};
  EXPECT_EQ(generator_.LastRequest().sampling.forced, after_reasoning);
  Chat({{"tools", tools}, {"tool_choice", "required"}, {"reasoning_effort", "none"}});
  const engine::runtime::ForcedTokens at_once = {.after = {}, .tokens = {kCallBegin}};
  EXPECT_EQ(generator_.LastRequest().sampling.forced, at_once);
  Chat({{"tools", tools}});
  EXPECT_EQ(generator_.LastRequest().sampling.forced, engine::runtime::ForcedTokens{});
}

TEST_F(GenerationTest, FillsInBeforeASuffix) {
  Start();
  generator_.SetScript(Says("ok"));
  Post("/v1/completions", {{"prompt", "a"}, {"suffix", "b"}});
  EXPECT_EQ(generator_.LastRequest().prompt, (std::vector<engine::Token>{'a', '[', 'b', ']'}));
}

TEST_F(GenerationTest, NamesTheRequestAsItsHeaderOrElseItsBodySays) {
  Start();
  generator_.SetScript(Says("#ok"));
  const auto header = [&] { return last_headers_.find("X-Request-Id")->second; };
  Chat({{"request_id", "job-7"}});
  EXPECT_EQ(header(), "job-7");
  Chat({{"request_id", "two words"}});
  EXPECT_EQ(header().size(), 32u);
  client_->set_default_headers({{"X-Request-Id", "mine"}});
  Chat({{"request_id", "job-7"}});
  EXPECT_EQ(header(), "mine");
}

TEST_F(GenerationTest, LogsFailuresAndRefusalsUnderTheRequestsName) {
  testing::internal::CaptureStderr();
  Start();
  generator_.SetScript([](const api::GenerationRequest&, api::GenerationStream& stream) {
    api::GenerationEvent event;
    event.finish = api::GenerationFinish{
        .reason = api::FinishReason::kError, .token = {}, .error = absl::DataLossError("a fault")};
    stream.Push(event);
  });
  Chat({{"request_id", "job-8"}}, 500);
  generator_.SetRequestsMax(0);
  Chat({{"request_id", "job-9"}}, 429);
  server_->Stop();
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("request job-8 failed: DATA_LOSS: a fault"), std::string::npos) << log;
  EXPECT_NE(log.find("request job-9 refused: queue_full"), std::string::npos) << log;
}

// An accepted draft behind a stop string is not in the text, so it is in no count.
TEST_F(GenerationTest, CountsAcceptedDraftsThatTheTextKeeps) {
  Start();
  generator_.SetScript([](const api::GenerationRequest&, api::GenerationStream& stream) {
    stream.Push(TokensEvent(Script("#a")));
    api::GenerationEvent event = TokensEvent(Script("bcdef"));
    event.drafted = 6;
    event.accepted = 4;
    stream.Push(event);
  });
  const json usage = Chat({{"stop", "c"}})["usage"];
  EXPECT_EQ(usage["completion_tokens"], 4);
  EXPECT_EQ(usage["completion_tokens_details"]["accepted_prediction_tokens"], 2);
  EXPECT_EQ(usage["completion_tokens_details"]["rejected_prediction_tokens"], 2);
}

TEST_F(GenerationTest, CountsMarkupThatWasLeftOutHoweverTheAnswerEnds) {
  Start();
  const auto bad = [](bool ends) {
    return [ends](const api::GenerationRequest& request, api::GenerationStream& stream) {
      stream.Push(TokensEvent({kThinkEnd, kBadMarkup, 'x'}));
      if (ends) {
        Says("y")(request, stream);
      }
    };
  };
  generator_.SetScript(bad(true));
  Chat();
  generator_.SetScript(bad(false));
  Chat({{"stop", "x"}});
  const std::string page = client_->Get("/metrics")->body;
  EXPECT_NE(page.find("sparkspan_tool_parse_errors_total{model_name=\"demo\",engine=\"0\"} 2.0"),
            std::string::npos);
  EXPECT_NE(page.find("sparkspan_tool_markup_dropped_bytes_total{model_name=\"demo\",engine=\"0\"} "
                      "14.0"),
            std::string::npos);
}

// Sampling interfaces and copying what every rank told is for who looks at the status.
TEST_F(GenerationTest, DoesNotCopyTheStatusForARequest) {
  Start();
  generator_.SetScript(Says("#ok"));
  const int before = generator_.status_calls();
  Chat();
  Chat({{"n", 2}});
  EXPECT_EQ(client_->Get("/health")->status, 200);
  EXPECT_EQ(client_->Get("/v1/models")->status, 200);
  EXPECT_EQ(generator_.status_calls(), before);
}

TEST_F(GenerationTest, SaysThatItDrains) {
  Start();
  EXPECT_EQ(json::parse(client_->Get("/status.json")->body)["state"], "ready");
  service_->BeginDrain();
  EXPECT_EQ(json::parse(client_->Get("/status.json")->body)["state"], "draining");
  EXPECT_NE(client_->Get("/metrics")->body.find("state=\"draining\"} 1.0"), std::string::npos);
}

TEST_F(GenerationTest, ObservesTheLongestOfSeveralAnswers) {
  Start();
  generator_.SetScript([](const api::GenerationRequest& request, api::GenerationStream& stream) {
    Says(request.sampling.seed == 0 ? "#a" : "#abcdef")(request, stream);
  });
  Chat({{"n", 2}, {"seed", 0}});
  const std::string page = client_->Get("/metrics")->body;
  const auto sum = [&](const std::string& name) {
    const std::size_t at = page.find(name + "_sum{");
    return page.substr(page.find("} ", at) + 2, 4);
  };
  EXPECT_EQ(sum("vllm:request_generation_tokens"), "11.0");
  EXPECT_EQ(sum("vllm:request_max_num_generation_tokens").substr(0, 3), "8.0");
}

}  // namespace
}  // namespace sparkspan::head::http
