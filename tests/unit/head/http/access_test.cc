#include <string>

#include "head/status/status_page.h"
#include "tests/unit/head/http/service_fixture.h"

// Who may see what: keys, and the page for browsers.
namespace sparkspan::head::http {
namespace {

constexpr char kBrowser[] =
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

TEST_F(ServiceTest, BrowsersGetThePageAndOthersAShortText) {
  Start();
  for (const char* path : {"/", "/status"}) {
    const httplib::Result page = client_->Get(path, {{"Accept", kBrowser}});
    ASSERT_EQ(page->status, 200);
    EXPECT_EQ(page->get_header_value("Content-Type"), "text/html; charset=utf-8");
    EXPECT_EQ(page->body, status::StatusPage());
    EXPECT_EQ(page->get_header_value("Content-Security-Policy"), status::StatusPagePolicy());
    EXPECT_EQ(page->get_header_value("X-Content-Type-Options"), "nosniff");
    EXPECT_EQ(page->get_header_value("Referrer-Policy"), "no-referrer");
    EXPECT_EQ(page->get_header_value("Cache-Control"), "no-store");
    EXPECT_EQ(page->get_header_value("Vary"), "Accept");
    for (const char* accept : {"*/*", "application/json", "text/plain"}) {
      const httplib::Result text = client_->Get(path, {{"Accept", accept}});
      EXPECT_EQ(text->status, 200);
      EXPECT_EQ(text->get_header_value("Content-Type"), "text/plain; charset=utf-8");
      EXPECT_LT(text->body.size(), 200u);
      EXPECT_EQ(text->get_header_value("Vary"), "Accept");
    }
    EXPECT_EQ(client_->Head(path)->status, 200);
  }
  EXPECT_EQ(client_->Get("/status.json")->status, 200) << "no key is set";
}

// With a key set the page is there for all and says nothing; what it reads needs the key.
TEST_F(ServiceTest, TheStatusIsBehindTheKeyAndThePageIsEmpty) {
  ServiceOptions options;
  options.api_keys = {"first-secret", "second-secret"};
  Start(options);
  api::EngineStatus status;
  status.state = api::EngineState::kReady;
  status.detail = "a word of what goes on";
  generator_.SetStatus(status);
  const httplib::Result page = client_->Get("/", {{"Accept", kBrowser}});
  EXPECT_EQ(page->status, 200);
  EXPECT_EQ(page->body, status::StatusPage());
  EXPECT_EQ(page->body.find("a word of what goes on"), std::string::npos);
  EXPECT_EQ(page->body.find("secret"), std::string::npos);
  const httplib::Result refused = client_->Get("/status.json");
  EXPECT_EQ(refused->status, 401);
  EXPECT_EQ(refused->body.find("a word of what goes on"), std::string::npos);
  EXPECT_EQ(client_->Get("/status.json?key=first-secret")->status, 401) << "never in a URL";
  for (const char* key : {"first-secret", "second-secret"}) {
    const httplib::Result shown =
        client_->Get("/status.json", {{"Authorization", std::string("Bearer ") + key}});
    EXPECT_EQ(shown->status, 200);
    EXPECT_NE(shown->body.find("a word of what goes on"), std::string::npos);
    EXPECT_EQ(shown->body.find("secret"), std::string::npos);
    EXPECT_EQ(shown->get_header_value("Cache-Control"), "no-store");
  }
}

TEST_F(ServiceTest, HealthTellsStrangersWhichRankIsLostAndNoMore) {
  ServiceOptions options;
  options.api_keys = {"secret"};
  Start(options);
  api::EngineStatus status;
  status.state = api::EngineState::kDegraded;
  status.detail = "rank 1 (node spark2, 192.168.1.11:7100) is lost: enp1s0f0np0 lost its link";
  status.ranks.resize(2);
  status.ranks[0].state = "waiting";
  status.ranks[1].rank = 1;
  status.ranks[1].node = "spark2";
  status.ranks[1].state = "lost";
  status.ranks[1].detail = status.detail;
  generator_.SetStatus(status);
  const httplib::Headers key = {{"x-api-key", "secret"}};
  for (const char* path : {"/health", "/ready", "/ping"}) {
    const httplib::Result stranger = client_->Get(path);
    EXPECT_EQ(stranger->status, 503);
    EXPECT_EQ(json::parse(stranger->body)["error"]["message"],
              "The engine is degraded. Rank 1 is lost.");
    EXPECT_NE(client_->Get(path, key)->body.find(status.detail), std::string::npos);
  }
  client_->set_default_headers(key);
  EXPECT_NE(Chat({}, 503).dump().find(status.detail), std::string::npos);
  status.state = api::EngineState::kStarting;
  generator_.SetStatus(status);
  client_->set_default_headers({});
  EXPECT_EQ(client_->Get("/health")->body.find("192.168"), std::string::npos);
}

TEST_F(ServiceTest, KeysAreNeitherAnsweredNorLogged) {
  ServiceOptions options;
  options.api_keys = {"right-secret"};
  testing::internal::CaptureStderr();
  Start(options);
  std::string answers;
  for (const char* path : {"/v1/models", "/status.json", "/metrics", "/nothing", "/props"}) {
    for (const char* key : {"right-secret", "wrong-secret"}) {
      for (const httplib::Headers& headers :
           {httplib::Headers{{"Authorization", std::string("Bearer ") + key}},
            httplib::Headers{{"x-api-key", key}}}) {
        const httplib::Result answer = client_->Get(path, headers);
        answers += answer->body;
        for (const auto& [name, value] : answer->headers) {
          answers += name + value;
        }
      }
    }
  }
  answers += Chat({}, 401).dump();
  server_->Stop();
  EXPECT_EQ(answers.find("secret"), std::string::npos);
  EXPECT_EQ(testing::internal::GetCapturedStderr().find("secret"), std::string::npos);
}

}  // namespace
}  // namespace sparkspan::head::http
