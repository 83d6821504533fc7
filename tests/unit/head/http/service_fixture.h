#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "head/http/service.h"
#include "httplib.h"
#include "nlohmann/json.hpp"
#include "tests/unit/head/http/fakes.h"
#include "tests/unit/head/http/loopback.h"

// A service with a scripted engine behind real HTTP on loopback, and clients for it.
namespace sparkspan::head::http {

using nlohmann::json;

inline constexpr std::int64_t kContext = 100;

inline api::ServedModel TestModel() {
  api::ServedModel model;
  model.names = {"demo", "alias"};
  model.context_length = kContext;
  model.vocabulary_size = kVocabulary;
  model.eos_token_ids = {kEos};
  return model;
}

class ServiceTest : public testing::Test {
 protected:
  void Start(ServiceOptions options = {}, ServerOptions server_options = {}) {
    api::EngineStatus ready;
    ready.state = api::EngineState::kReady;
    ready.running_max = 4;
    ready.waiting_max = 8;
    generator_.SetStatus(ready);
    options.version = "test";
    service_ = std::make_unique<Service>(
        TestModel(), std::move(options), codec_, generator_, metrics_, clock_);
    if (server_options.threads == ServerOptions().threads) {
      server_options.threads = 8;
    }
    server_options.stop_timeout = std::chrono::milliseconds(100);  // Tests leave streams open.
    auto server = Server::Start(
        server_options, [this](const HttpRequest& request, const Connection& client, bool full) {
          return service_->Handle(request, client, full);
        });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    client_ = std::make_unique<httplib::Client>("127.0.0.1", server_->port());
    client_->set_read_timeout(10);
  }

  void TearDown() override {
    client_.reset();
    server_.reset();
  }

  httplib::Result Post(const std::string& path, const json& body) {
    return client_->Post(path, body.dump(), "application/json");
  }

  json Chat(json fields = json::object(), int expected_status = 200) {
    fields["messages"] = {{{"role", "user"}, {"content", "hello"}}};
    const httplib::Result result = Post("/v1/chat/completions", fields);
    EXPECT_TRUE(result) << "no answer";
    EXPECT_EQ(result->status, expected_status) << result->body;
    last_headers_ = result->headers;
    return json::parse(result->body);
  }

  // The data of a stream's events; checks that it ends in [DONE].
  std::vector<json> Stream(json fields, const std::string& path = "/v1/chat/completions") {
    fields["stream"] = true;
    if (path.find("chat") != std::string::npos) {
      fields["messages"] = {{{"role", "user"}, {"content", "hello"}}};
    }
    const httplib::Result result = Post(path, fields);
    EXPECT_TRUE(result) << "no answer";
    EXPECT_EQ(result->status, 200) << result->body;
    EXPECT_EQ(result->get_header_value("Content-Type"), "text/event-stream; charset=utf-8");
    std::vector<json> events;
    bool done = false;
    std::istringstream lines(result->body);
    for (std::string line; std::getline(lines, line);) {
      if (line == "data: [DONE]") {
        done = true;
      } else if (line.starts_with("data: ")) {
        EXPECT_FALSE(done);
        events.push_back(json::parse(line.substr(6)));
      } else {
        EXPECT_TRUE(line.empty() || line.starts_with(":")) << line;
      }
    }
    EXPECT_TRUE(done) << result->body;
    return events;
  }

  engine::SteadyClock clock_;
  ByteCodec codec_;
  FakeGenerator generator_;
  status::Metrics metrics_{kContext};
  std::unique_ptr<Service> service_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<httplib::Client> client_;
  httplib::Headers last_headers_;
};

struct Joined {
  std::string content;
  std::string reasoning;
  std::map<int, json> calls;
  std::string finish_reason;
  int finishes = 0;
  int roles = 0;
};

inline Joined Join(const std::vector<json>& events) {
  Joined joined;
  for (const json& event : events) {
    for (const json& choice : event["choices"]) {
      const json& delta = choice["delta"];
      joined.roles += delta.contains("role") ? 1 : 0;
      joined.content += delta.value("content", "");
      joined.reasoning += delta.value("reasoning", "");
      EXPECT_EQ(delta.value("reasoning", ""), delta.value("reasoning_content", ""));
      for (const json& call : delta.value("tool_calls", json::array())) {
        json& whole = joined.calls[call["index"]];
        if (call.contains("id")) {
          EXPECT_TRUE(whole.is_null()) << "a second beginning of a call";
          whole = {{"id", call["id"]}, {"name", call["function"]["name"]}, {"arguments", ""}};
        }
        whole["arguments"] = whole["arguments"].get<std::string>() +
                             call["function"]["arguments"].get<std::string>();
      }
      if (!choice["finish_reason"].is_null()) {
        joined.finish_reason = choice["finish_reason"];
        ++joined.finishes;
      }
    }
  }
  return joined;
}

// A client that has asked for a generation, so that the test says when it closes.
class RawClient : public RawSocket {
 public:
  RawClient(int port, const std::string& path, const json& body) : RawSocket(port) {
    const std::string text = body.dump();
    Send("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(text.size()) +
         "\r\n\r\n" + text);
  }
};

inline json ChatFields(bool stream) {
  return {{"stream", stream}, {"messages", {{{"role", "user"}, {"content", "x"}}}}};
}

}  // namespace sparkspan::head::http
