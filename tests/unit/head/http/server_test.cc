#include "head/http/server.h"

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/base/thread.h"
#include "tests/unit/head/http/loopback.h"

// Connections and framing; what requests mean is for service_test.cc.
namespace sparkspan::head::http {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

// What a test opens once.
class Gate {
 public:
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  // False when it stays shut for half a minute.
  bool Wait() {
    std::unique_lock lock(mutex_);
    return opened_.wait_for(lock, std::chrono::seconds(30), [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

// Sends `part` for ever, or once the gate is open.
class Parts final : public BodySource {
 public:
  explicit Parts(std::string part, Gate* gate = nullptr) : part_(std::move(part)), gate_(gate) {}
  bool Next(std::string* out) override {
    if (gate_ != nullptr) {
      gate_->Wait();
    }
    *out += part_;
    return gate_ == nullptr;
  }

 private:
  const std::string part_;
  Gate* const gate_;
};

HttpResponse Text(std::string body) {
  HttpResponse response;
  response.content_type = "text/plain";
  response.body = std::move(body);
  return response;
}

// A server that notes the requests it hands over, and answers "hello" or as a path's test wants.
class ServerTest : public testing::Test {
 protected:
  using Answer = std::function<HttpResponse(const HttpRequest&, const Connection&)>;

  void Start(ServerOptions options = {}) {
    options.threads = std::min<std::size_t>(options.threads, 8);
    auto server = Server::Start(
        options, [this](const HttpRequest& request, const Connection& client, bool overloaded) {
          {
            const std::lock_guard lock(mutex_);
            requests_.push_back(request);
            overloaded_ += overloaded ? 1 : 0;
          }
          if (request.refused_status != 0) {
            HttpResponse response = Text("refused");
            response.status = request.refused_status;
            response.headers.emplace_back("X-Mark", "ours");
            return response;
          }
          const auto answer = answers_.find(request.path);
          return answer == answers_.end() ? Text("hello") : answer->second(request, client);
        });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  void TearDown() override { server_.reset(); }

  std::unique_ptr<RawSocket> Connect(const std::string& text = "") {
    auto client = std::make_unique<RawSocket>(server_->port());
    client->Send(text);
    return client;
  }

  // The whole answer to bytes after which the server closes.
  std::string AnswerTo(const std::string& text) {
    const auto client = Connect(text);
    EXPECT_TRUE(client->ReadToEnd());
    return client->seen();
  }

  std::vector<HttpRequest> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  std::size_t overloaded() {
    const std::lock_guard lock(mutex_);
    return overloaded_;
  }

  // Stop() on a thread of its own; whether it has returned in time.
  bool Stops(const std::function<void()>& meanwhile = [] {}) {
    std::atomic<bool> stopped{false};
    engine::Thread stop("stop", [&] {
      server_->Stop();
      stopped = true;
    });
    meanwhile();
    return Eventually([&] { return stopped.load(); });
  }

  std::map<std::string, Answer> answers_;  // By path; filled before Start().
  Gate gate_;                              // For answers to wait at.
  std::unique_ptr<Server> server_;

 private:
  std::mutex mutex_;
  std::vector<HttpRequest> requests_;
  std::size_t overloaded_ = 0;
};

// Limits that no test outlives: what ends sooner is ended by what the test is about.
ServerOptions Patient() {
  ServerOptions options;
  for (auto* timeout : {&options.header_timeout,
                        &options.body_timeout,
                        &options.write_timeout,
                        &options.overload_timeout,
                        &options.keep_alive_timeout,
                        &options.stop_timeout}) {
    *timeout = hours(1);
  }
  return options;
}

std::string Get(const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n";
}

std::string Post(const std::string& headers, const std::string& body) {
  return "POST /p HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n" + body;
}

TEST_F(ServerTest, StopWaitsForNobodyWhoOnlySends) {
  Start(Patient());
  const auto silent = Connect();
  const auto half_a_header = Connect("POST /p HTTP/1.1\r\nHos");
  const auto half_a_body = Connect(Post("Expect: 100-continue\r\nContent-Length: 100\r\n", "x"));
  ASSERT_TRUE(half_a_body->ReadUntil("HTTP/1.1 100 "));
  const auto kept_alive = Connect(Get("/"));
  ASSERT_TRUE(kept_alive->ReadUntil("hello"));
  EXPECT_TRUE(Stops());
  for (const auto* client : {&silent, &half_a_header, &half_a_body, &kept_alive}) {
    EXPECT_TRUE((*client)->ReadToEnd());
  }
  EXPECT_NE(half_a_body->seen().find("HTTP/1.1 503 "), std::string::npos) << half_a_body->seen();
  EXPECT_EQ(kept_alive->seen().find("hello"), kept_alive->seen().rfind("hello"));
}

TEST_F(ServerTest, StopLetsAnswersBeCompleted) {
  answers_["/slow"] = [&](const HttpRequest&, const Connection&) {
    HttpResponse response = Text("");
    response.source = std::make_unique<Parts>("the end", &gate_);
    return response;
  };
  Start(Patient());
  const auto client = Connect(Get("/slow"));
  ASSERT_TRUE(client->ReadUntil("\r\n\r\n"));
  EXPECT_TRUE(Stops([&] {
    EXPECT_TRUE(Eventually([&] { return !RawSocket::Connects(server_->port()); }));
    gate_.Open();
  }));
  EXPECT_TRUE(client->ReadToEnd());
  EXPECT_NE(client->seen().find("the end\r\n0\r\n\r\n"), std::string::npos) << client->seen();
}

TEST_F(ServerTest, StopBreaksAnswersThatDoNotEnd) {
  answers_["/endless"] = [](const HttpRequest&, const Connection&) {
    HttpResponse response = Text("");
    response.source = std::make_unique<Parts>(std::string(1 << 20, 'x'));
    return response;
  };
  answers_["/waits"] = [](const HttpRequest&, const Connection& client) {
    EXPECT_TRUE(Eventually([&] { return !client.alive(); }));
    return Text("");
  };
  ServerOptions options = Patient();
  options.stop_timeout = milliseconds(1);
  Start(options);
  const auto reads_nothing = Connect(Get("/endless"));
  const auto waits = Connect(Get("/waits"));
  ASSERT_TRUE(Eventually([&] { return requests().size() == 2; }));
  EXPECT_TRUE(Stops());
}

TEST_F(ServerTest, AClientThatLeavesIsSeenBehindBytesOfIt) {
  std::atomic<int> begun{0};
  std::atomic<int> seen{0};
  answers_["/waits"] = [&](const HttpRequest&, const Connection& client) {
    EXPECT_TRUE(client.alive());
    ++begun;
    seen += Eventually([&] { return !client.alive(); }) ? 1 : 0;
    return Text("");
  };
  Start(Patient());
  for (const std::string& rest : {std::string("\r\n"), Get("/next")}) {
    const int before = begun;
    const auto client = Connect(Get("/waits") + rest);
    ASSERT_TRUE(Eventually([&] { return begun > before; }));
    client->Leave();
  }
  EXPECT_TRUE(Eventually([&] { return seen == 2; }));
}

TEST_F(ServerTest, IdleConnectionsHoldNoThread) {
  ServerOptions options = Patient();  // With eight threads.
  options.idle_connections_max = 64;
  Start(options);
  std::vector<std::unique_ptr<RawSocket>> clients;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(Connect());
    clients.push_back(Connect(Get("/")));
    ASSERT_TRUE(clients.back()->ReadUntil("hello"));
  }
  EXPECT_EQ(overloaded(), 0u);
  EXPECT_TRUE(clients.front()->ReadToEnd()) << "there is room for 64, and 80 came";
  EXPECT_EQ(clients.front()->seen(), "");
  clients.back()->Send(Get("/last"));
  EXPECT_TRUE(Eventually([&] { return requests().back().path == "/last"; }));
}

TEST_F(ServerTest, ABusyPoolAnswersThatItIsWithoutWaiting) {
  answers_["/held"] = [this](const HttpRequest&, const Connection&) {
    gate_.Wait();
    return Text("held");
  };
  ServerOptions options = Patient();
  options.threads = 1;
  options.overload_threads = 1;
  Start(options);
  std::vector<std::unique_ptr<RawSocket>> clients;
  const auto refusals = [&] {
    const std::vector<HttpRequest> seen = requests();
    return std::count_if(seen.begin(), seen.end(), [](const HttpRequest& request) {
      return request.refused_status == 503;
    });
  };
  while (refusals() == 0 && clients.size() < 200) {
    clients.push_back(Connect(Get("/held")));
    std::this_thread::sleep_for(milliseconds(1));
  }
  ASSERT_GT(refusals(), 0);
  // Whoever comes now is refused.
  const std::string answer = AnswerTo(Get("/held"));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n")) << answer;
  EXPECT_NE(answer.find("X-Mark: ours\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("Content-Length: 7\r\n\r\nrefused")) << answer;
  gate_.Open();
  EXPECT_TRUE(clients.front()->ReadUntil("held"));
}

// What one reader takes for a body must not be a request to another.
TEST_F(ServerTest, ABodyIsNeverTheNextRequest) {
  Start(Patient());
  const std::string hidden = Get("/hidden");
  const std::string length = "Content-Length: " + std::to_string(hidden.size()) + "\r\n";
  for (const char* method : {"GET", "HEAD", "OPTIONS", "TRACE"}) {
    AnswerTo(std::string(method) + " /p HTTP/1.1\r\nHost: x\r\n" + length + "\r\n" + hidden);
    AnswerTo(std::string(method) + " /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
             "0\r\n\r\n" + hidden);
  }
  EXPECT_EQ(requests().size(), 8u);
  for (const std::string& headers : {length + "Transfer-Encoding: chunked\r\n",
                                     length + "Content-Length: 0\r\n",
                                     std::string("Content-Length: 0, 5\r\n"),
                                     std::string("Content-Length: -1\r\n"),
                                     std::string("Content-Length: +0\r\n"),
                                     std::string("Transfer-Encoding: gzip, chunked\r\n"),
                                     std::string("Transfer-Encoding: xchunked\r\n")}) {
    const std::string answer = AnswerTo(Post(headers, hidden));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << headers << answer;
    EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos) << answer;
    EXPECT_EQ(answer.find("Keep-Alive"), std::string::npos) << answer;
  }
  // A chunk that is longer than it says, and one that ends in something else.
  AnswerTo(Post("Transfer-Encoding: chunked\r\n", "1\r\nxx\r\n0\r\n\r\n" + hidden));
  AnswerTo(Post("Transfer-Encoding: chunked\r\n", "1\r\nxy" + hidden));
  for (const HttpRequest& request : requests()) {
    EXPECT_EQ(request.path, "/p");
  }
}

TEST_F(ServerTest, ConnectionsAreKeptForTheNextRequest) {
  Start(Patient());
  const auto client = Connect();
  for (int i = 0; i < 3; ++i) {
    const std::string body = "body " + std::to_string(i);
    client->Send(Post("Content-Length: 6\r\n", body) + "\r\n");  // An empty line more than it is.
    ASSERT_TRUE(Eventually([&] { return requests().size() == static_cast<std::size_t>(i + 1); }));
    EXPECT_EQ(requests().back().body, body);
  }
  client->Send(Get("/a") + Get("/b") + "GET /c HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(client->ReadToEnd());
  EXPECT_EQ(requests().size(), 6u);
  EXPECT_EQ(requests().back().path, "/c");
  EXPECT_EQ(client->seen().find("HTTP/1.1 4"), std::string::npos) << client->seen();
}

TEST_F(ServerTest, WhatTheLibraryRefusesGetsAnAnswerOfOurs) {
  Start(Patient());
  const std::map<std::string, std::string> wanted = {
      {"nonsense\r\n\r\n" + Get("/hidden"), "400"},
      {"GET / HTTP/9.9\r\n\r\n" + Get("/hidden"), "400"},
      {Get("/" + std::string(3000, 'x')), "414"},
      {Get("/" + std::string(9000, 'x')), "414"},
      {"GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=x\r\n\r\n", "416"}};
  for (const auto& [text, status] : wanted) {
    const std::string answer = AnswerTo(text);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + status + " ")) << answer;
    EXPECT_NE(answer.find("X-Mark: ours\r\n"), std::string::npos) << answer;
    EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos) << answer;
    EXPECT_TRUE(answer.ends_with("refused")) << answer;
  }
  EXPECT_EQ(requests().size(), wanted.size());
}

TEST_F(ServerTest, OtherMethodsReachTheHandler) {
  Start(Patient());
  AnswerTo("TRACE /t HTTP/1.1\r\nConnection: close\r\n\r\n");
  ASSERT_EQ(requests().size(), 1u);
  EXPECT_EQ(requests()[0].method, "TRACE");
  EXPECT_EQ(requests()[0].refused_status, 0);
}

TEST_F(ServerTest, OnlyEncodingsThatAreReadAre) {
  Start(Patient());
  for (const auto& [encoding, is_readable] : std::map<std::string, bool>{
           {"identity", true}, {"br", false}, {"zstd", false}, {"gzip, gzip", false}}) {
    AnswerTo(Post(
        "Connection: close\r\nContent-Length: 1\r\nContent-Encoding: " + encoding + "\r\n", "x"));
    EXPECT_EQ(requests().back().body_unreadable, !is_readable) << encoding;
    EXPECT_FALSE(requests().back().body_incomplete) << encoding;
  }
}

TEST_F(ServerTest, ARequestThatComesTooSlowlyIsSaidTo) {
  for (const auto timeout : {&ServerOptions::header_timeout, &ServerOptions::body_timeout}) {
    ServerOptions options = Patient();
    options.*timeout = milliseconds(50);
    Start(options);
    const bool is_header = timeout == &ServerOptions::header_timeout;
    const std::string part =
        is_header ? "GET / HTTP/1.1\r\nHost" : Post("Content-Length: 2\r\n", "x");
    EXPECT_TRUE(AnswerTo(part).starts_with("HTTP/1.1 408 ")) << part;
  }
}

TEST_F(ServerTest, AnExceptionIsAnError) {
  answers_["/throws"] = [](const HttpRequest&, const Connection&) -> HttpResponse {
    throw std::runtime_error("secret");
  };
  Start(Patient());
  const std::string answer = AnswerTo(Get("/throws"));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 500 ")) << answer;
  EXPECT_EQ(answer.find("secret"), std::string::npos) << answer;
}

TEST(ThreadsFor, GrowsWithTheRequestsAndHasBounds) {
  EXPECT_EQ(ThreadsFor(0), 128u);
  EXPECT_GT(ThreadsFor(500), 500u);
  EXPECT_EQ(ThreadsFor(1 << 20), 2048u);
}

}  // namespace
}  // namespace sparkspan::head::http
