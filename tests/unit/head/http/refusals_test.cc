#include <map>
#include <string>

#include "tests/unit/head/http/service_fixture.h"

// Requests that no route sees: every answer still has the headers and the form of all others.
namespace sparkspan::head::http {
namespace {

struct RawAnswer {
  int status = 0;
  std::string reason;
  std::map<std::string, std::string> headers;
  std::string body;
};

RawAnswer Parse(const std::string& text) {
  RawAnswer answer;
  const std::size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos) {
    ADD_FAILURE() << "no answer: " << text;
    return answer;
  }
  answer.body = text.substr(end + 4);
  std::istringstream lines(text.substr(0, end));
  std::string line;
  std::getline(lines, line);
  answer.status = std::stoi(line.substr(std::string("HTTP/1.1 ").size()));
  answer.reason = line.substr(std::string("HTTP/1.1 200 ").size());
  while (std::getline(lines, line)) {
    const std::size_t colon = line.find(": ");
    answer.headers[line.substr(0, colon)] = line.substr(colon + 2);
    std::erase(answer.headers[line.substr(0, colon)], '\r');
  }
  std::erase(answer.reason, '\r');
  return answer;
}

class RefusalsTest : public ServiceTest {
 protected:
  RawAnswer AnswerTo(const std::string& text, bool half_close = false) {
    RawSocket client(server_->port());
    client.Send(text);
    if (half_close) {
      client.EndWrites();
    }
    EXPECT_TRUE(client.ReadToEnd());
    return Parse(client.seen());
  }

  static void ExpectErrorWith(const RawAnswer& answer, int status, const std::string& code) {
    EXPECT_EQ(answer.status, status) << answer.body;
    EXPECT_EQ(answer.headers.count("X-Request-Id"), 1u) << status;
    EXPECT_EQ(answer.headers.count("Access-Control-Allow-Origin"), 1u) << status;
    EXPECT_EQ(answer.headers.at("Content-Length"), std::to_string(answer.body.size()));
    ASSERT_TRUE(json::accept(answer.body)) << answer.body;
    EXPECT_EQ(json::parse(answer.body)["error"]["code"], code);
  }
};

TEST_F(RefusalsTest, EveryErrorHasTheCommonHeaders) {
  Start();
  const std::string close = "Connection: close\r\n\r\n";
  ExpectErrorWith(AnswerTo("nonsense\r\n\r\n"), 400, "bad_request");
  ExpectErrorWith(
      AnswerTo("GET /" + std::string(3000, 'x') + " HTTP/1.1\r\n\r\n"), 414, "uri_too_long");
  ExpectErrorWith(
      AnswerTo("GET /" + std::string(9000, 'x') + " HTTP/1.1\r\n\r\n"), 414, "uri_too_long");
  ExpectErrorWith(AnswerTo("TRACE /health HTTP/1.1\r\n" + close), 405, "method_not_allowed");
  ExpectErrorWith(AnswerTo("POST /v1/completions HTTP/1.1\r\nContent-Encoding: br\r\n"
                           "Content-Length: 2\r\n\r\n{}"),
                  415,
                  "unsupported_media_type");
}

TEST_F(RefusalsTest, AServerWithoutAnyThreadLeftSaysSo) {
  ServerOptions options;
  options.threads = 1;
  options.overload_threads = 1;
  options.overload_timeout = std::chrono::hours(1);
  options.header_timeout = std::chrono::hours(1);
  Start({}, options);
  // Half a header takes a thread, then the queue before it.
  std::vector<std::unique_ptr<RawSocket>> clients;
  const auto refused = [&] {
    return metrics_.Render("demo", {}).find("reason=\"connections\"") != std::string::npos;
  };
  while (clients.size() < 200 && !refused()) {
    clients.push_back(std::make_unique<RawSocket>(server_->port()));
    clients.back()->Send("GET /health HTTP/1.1\r\n");
  }
  ExpectErrorWith(AnswerTo("GET /health HTTP/1.1\r\n\r\n"), 503, "overloaded");
}

TEST_F(RefusalsTest, AClientThatEndsItsWritesCountsAsGoneAndIsTold) {
  Start();
  const std::string body = R"({"prompt": "x"})";
  const RawAnswer answer =
      AnswerTo("POST /v1/completions HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) +
                   "\r\n\r\n" + body + "\r\n",
               /*half_close=*/true);
  EXPECT_EQ(answer.reason, "Client Closed Request");
  ExpectErrorWith(answer, 499, "client_closed_request");
  EXPECT_TRUE(Eventually([&] { return generator_.LastStream()->cancelled(); }));
}

}  // namespace
}  // namespace sparkspan::head::http
