#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "tests/unit/head/http/service_fixture.h"

// Requests with n above 1.
namespace sparkspan::head::http {
namespace {

using SeveralAnswersTest = ServiceTest;

// Answers by the seed: 'a', 'bb', 'ccc' for the first, second and third of seed 97.
void SayBySeed(const api::GenerationRequest& request, api::GenerationStream& stream) {
  const auto letter = static_cast<char>(request.sampling.seed);
  Says("#" + std::string(static_cast<std::size_t>(letter - 'a') + 1, letter))(request, stream);
}

TEST_F(SeveralAnswersTest, GivesSeveralAnswersOfSeedsThatFollow) {
  Start();
  generator_.SetScript(SayBySeed);
  const json fields = {{"n", 3}, {"seed", 'a'}, {"presence_penalty", 1}};
  const json whole = Chat(fields);
  ASSERT_EQ(whole["choices"].size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    const json& choice = whole["choices"][i];
    EXPECT_EQ(choice["index"], i);
    EXPECT_EQ(choice["message"]["content"],
              std::string(i + 1, static_cast<char>('a' + static_cast<int>(i))));
    EXPECT_EQ(choice["finish_reason"], "stop");
  }
  // Of each the text, the end of its reasoning and EOS; the prompt once.
  EXPECT_EQ(whole["usage"]["completion_tokens"], 1 + 2 + 3 + 3 + 3);
  EXPECT_EQ(whole["usage"]["prompt_tokens"], 6);
  EXPECT_EQ(whole["usage"]["completion_tokens_details"]["reasoning_tokens"], 3);
  for (const api::GenerationRequest& request : generator_.Requests()) {
    EXPECT_EQ(request.sampling.presence_penalty, 1.0f);
  }
  // As one request each.
  for (const char seed : {'a', 'b', 'c'}) {
    EXPECT_EQ(Chat({{"seed", seed}})["choices"][0]["message"],
              whole["choices"][static_cast<std::size_t>(seed - 'a')]["message"]);
  }
  const httplib::Result result =
      Post("/v1/completions", {{"prompt", "x"}, {"n", 2}, {"seed", 'b'}, {"logprobs", 0}});
  const json texts = json::parse(result->body)["choices"];
  EXPECT_EQ(texts[0]["text"], "bb");
  EXPECT_EQ(texts[1]["text"], "ccc");
  EXPECT_EQ(texts[1]["logprobs"]["text_offset"].size(), 5u);
  // Without a seed they still differ.
  generator_.SetScript(Says("#ok"));
  Chat({{"n", 2}});
  const std::vector<api::GenerationRequest> requests = generator_.Requests();
  EXPECT_EQ(requests.back().sampling.seed, requests[requests.size() - 2].sampling.seed + 1);
}

TEST_F(SeveralAnswersTest, InterleavesSeveralAnswersInAStream) {
  Start();
  generator_.SetScript(SayBySeed);
  const json fields = {{"n", 3}, {"seed", 'a'}, {"stream_options", {{"include_usage", true}}}};
  std::vector<json> events = Stream(fields);
  EXPECT_EQ(events.back()["usage"], Chat({{"n", 3}, {"seed", 'a'}})["usage"]);
  events.pop_back();
  std::map<int, std::vector<json>> by_choice;
  int changes = 0;
  int last = -1;
  for (const json& event : events) {
    EXPECT_EQ(event["id"], events[0]["id"]);
    ASSERT_EQ(event["choices"].size(), 1u);
    const int index = event["choices"][0]["index"];
    changes += index != last ? 1 : 0;
    last = index;
    by_choice[index].push_back(event);
  }
  EXPECT_GT(changes, 3) << "one answer after the other";
  ASSERT_EQ(by_choice.size(), 3u);
  for (const auto& [index, own] : by_choice) {
    const Joined joined = Join(own);
    EXPECT_EQ(own.front()["choices"][0]["delta"].value("role", ""), "assistant");
    EXPECT_EQ(joined.content,
              std::string(static_cast<std::size_t>(index) + 1, static_cast<char>('a' + index)));
    EXPECT_EQ(joined.roles, 1);
    EXPECT_EQ(joined.finishes, 1);
    EXPECT_FALSE(own.back()["choices"][0]["finish_reason"].is_null());
  }
}

// A batch of prompts: each is answered n times, as if it had been asked alone.
TEST_F(SeveralAnswersTest, AnswersEveryPromptOfABatch) {
  Start();
  generator_.SetScript([](const api::GenerationRequest& request, api::GenerationStream& stream) {
    const auto letter = static_cast<char>(request.sampling.seed);
    Says(std::string(1, letter) + std::to_string(request.prompt.size()))(request, stream);
  });
  json fields = {{"prompt", {"xx", "yyyy"}}, {"n", 2}, {"seed", 'a'}, {"echo", true}};
  fields["return_token_ids"] = true;
  const json whole = json::parse(Post("/v1/completions", fields)->body);
  ASSERT_EQ(whole["choices"].size(), 4u);
  const std::vector<std::string> texts = {"xxa2", "xxb2", "yyyya4", "yyyyb4"};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(whole["choices"][i]["index"], i);
    EXPECT_EQ(whole["choices"][i]["text"], texts[i]);
    EXPECT_EQ(whole["choices"][i]["prompt_token_ids"].size(), i < 2 ? 2u : 4u);
  }
  // Each prompt once; of each answer two letters and EOS.
  EXPECT_EQ(whole["usage"]["prompt_tokens"], 6);
  EXPECT_EQ(whole["usage"]["completion_tokens"], 12);
  std::vector<std::string> streamed(4);
  for (const json& event : Stream(fields, "/v1/completions")) {
    for (const json& choice : event["choices"]) {
      streamed[choice["index"]] += choice["text"].get<std::string>();
    }
  }
  EXPECT_EQ(streamed, texts);
  // The limit of each is what its own prompt leaves.
  Post("/v1/completions", {{"prompt", {"x", std::string(90, 'y')}}, {"max_tokens", 50}});
  const std::vector<api::GenerationRequest> requests = generator_.Requests();
  EXPECT_EQ(requests[requests.size() - 2].max_tokens, 50);
  EXPECT_EQ(requests.back().max_tokens, kContext - 90);
  fields = {{"prompt", std::vector<std::string>(13, "x")}};
  EXPECT_EQ(json::parse(Post("/v1/completions", fields)->body)["error"]["param"], "prompt");
}

TEST_F(SeveralAnswersTest, AdmitsAllAnswersOrNone) {
  Start();
  generator_.SetRequestsMax(2);
  const json refused = Chat({{"n", 3}}, 429);
  EXPECT_EQ(refused["error"]["code"], "queue_full");
  ASSERT_EQ(generator_.Streams().size(), 2u);
  for (const auto& stream : generator_.Streams()) {
    EXPECT_TRUE(stream->cancelled());
  }
  // More than could ever be held at once.
  EXPECT_EQ(Chat({{"n", 13}}, 400)["error"]["param"], "n");
}

TEST_F(SeveralAnswersTest, EndsAllAnswersWithTheClientOrAFault) {
  Start();
  RawClient client(server_->port(), "/v1/chat/completions", [] {
    json fields = ChatFields(true);
    fields["n"] = 3;
    return fields;
  }());
  ASSERT_TRUE(Eventually([&] { return generator_.Streams().size() == 3; }));
  generator_.Streams()[1]->Push(TokensEvent(Script("#b")));
  ASSERT_TRUE(client.ReadUntil("\"content\":\"b\""));
  client.Leave();
  EXPECT_TRUE(Eventually([&] {
    const auto streams = generator_.Streams();
    return std::all_of(
        streams.begin(), streams.end(), [](const auto& stream) { return stream->cancelled(); });
  }));
  generator_.SetScript([](const api::GenerationRequest& request, api::GenerationStream& stream) {
    if (request.sampling.seed == 1) {
      api::GenerationEvent event;
      event.finish = api::GenerationFinish{.reason = api::FinishReason::kError,
                                           .token = {},
                                           .error = absl::InternalError("a rank died")};
      stream.Push(event);
    }
  });
  EXPECT_EQ(Chat({{"n", 2}, {"seed", 0}}, 500)["error"]["type"], "server_error");
  EXPECT_TRUE(generator_.Streams()[3]->cancelled());
}

}  // namespace
}  // namespace sparkspan::head::http
