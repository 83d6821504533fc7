#include "head/http/server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <charconv>
#include <exception>
#include <optional>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "head/http/connection_pool.h"
#include "head/http/listener.h"
#include "head/http/socket_stream.h"
#include "httplib.h"

// The library parses requests and frames responses. Accepting, threads, sockets and their time
// limits are ours: its accept loop ends at the first aborted connection, its pool has no limit, its
// bodies in chunks have none either, and its handlers cannot see that a client is gone.
namespace sparkspan::head::http {
namespace {

constexpr std::chrono::milliseconds kStopPoll{200};
constexpr std::size_t kPathBytesMax = 2048;
constexpr std::string_view kRefusal =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    "Connection: close\r\nContent-Length: 141\r\n\r\n"
    "{\"error\":{\"message\":\"Too many connections; try again in a second.\",\"type\":"
    "\"service_unavailable_error\",\"param\":null,\"code\":\"too_many_connections\"}}\n";

class LibraryStream final : public httplib::Stream {
 public:
  explicit LibraryStream(SocketStream* stream) : stream_(stream) {}

  bool is_readable() const override { return true; }
  bool is_writable() const override { return stream_->alive(); }
  ssize_t read(char* out, std::size_t bytes) override { return stream_->Read(out, bytes); }
  ssize_t write(const char* data, std::size_t bytes) override {
    return stream_->Write({data, bytes}) ? static_cast<ssize_t>(bytes) : -1;
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    Name(&getpeername, &ip, &port);
  }
  void get_local_ip_and_port(std::string& ip, int& port) const override {
    Name(&getsockname, &ip, &port);
  }
  socket_t socket() const override { return stream_->fd(); }

 private:
  template <typename GetName>
  void Name(GetName get_name, std::string* ip, int* port) const {
    sockaddr_storage storage{};
    socklen_t bytes = sizeof(storage);
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> service{};
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    if (get_name(stream_->fd(), address, &bytes) == 0 &&
        getnameinfo(address,
                    bytes,
                    host.data(),
                    host.size(),
                    service.data(),
                    service.size(),
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
      *ip = host.data();
      std::from_chars(service.data(), service.data() + std::strlen(service.data()), *port);
    }
  }

  SocketStream* stream_;
};

class LiveConnection final : public Connection {
 public:
  explicit LiveConnection(const SocketStream* stream) : stream_(stream) {}
  bool alive() const override { return stream_->alive(); }

 private:
  const SocketStream* stream_;
};

// What the thread is serving: the library's handlers get no other way to know.
struct Serving {
  SocketStream* stream = nullptr;
  bool overloaded = false;
  bool must_close = false;  // The request's body was left unread.
};
thread_local Serving* serving = nullptr;

std::optional<std::uint64_t> ContentLength(const httplib::Request& request) {
  const std::string text = request.get_header_value("Content-Length");
  std::uint64_t bytes = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (text.empty() || fault != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return bytes;
}

class LibraryServer final : public Server, private httplib::Server {
 public:
  LibraryServer(ServerOptions options,
                RequestHandler handler,
                engine::UniqueFd listener,
                engine::UniqueFd stop)
      : options_(std::move(options)),
        handler_(std::move(handler)),
        listener_(std::move(listener)),
        stop_(std::move(stop)),
        port_(BoundPort(listener_.get())) {
    svr_sock_ = listener_.get();  // Tells the library that it is not shutting down.
    RegisterHandlers();
    pool_ = std::make_unique<ConnectionPool>(
        options_.threads, options_.overload_threads, [this](engine::UniqueFd socket, bool full) {
          ServeConnection(std::move(socket), full);
        });
    acceptor_ = engine::Thread("http-accept", [this] { Accept(); });
  }

  ~LibraryServer() override { Stop(); }

  int port() const override { return port_; }
  std::int64_t active_requests() const override { return active_; }

  void Stop() override {
    if (stopping_.exchange(true)) {
      return;
    }
    eventfd_write(stop_.get(), 1);
    acceptor_.Join();
    pool_.reset();
    svr_sock_ = INVALID_SOCKET;
    listener_.Reset();
  }

 private:
  void RegisterHandlers();
  void Accept();
  void ServeConnection(engine::UniqueFd socket, bool overloaded);
  bool WaitForRequest(SocketStream* stream);
  void DrainUnread(SocketStream* stream);
  void Handle(const httplib::Request& request,
              httplib::Response& response,
              const httplib::ContentReader* reader);
  void ReadBody(const httplib::Request& request,
                const httplib::ContentReader& reader,
                httplib::Response& response,
                HttpRequest* result);
  void Send(HttpResponse result, httplib::Response& response);

  const ServerOptions options_;
  const RequestHandler handler_;
  engine::UniqueFd listener_;
  engine::UniqueFd stop_;
  const int port_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::int64_t> active_{0};
  std::unique_ptr<ConnectionPool> pool_;
  engine::Thread acceptor_;
};

void LibraryServer::RegisterHandlers() {
  const std::string any = R"([^]*)";
  const auto plain = [this](const httplib::Request& request, httplib::Response& response) {
    Handle(request, response, nullptr);
  };
  const auto with_body = [this](const httplib::Request& request,
                                httplib::Response& response,
                                const httplib::ContentReader& reader) {
    Handle(request, response, &reader);
  };
  Get(any, plain);
  Options(any, plain);
  Delete(any, plain);
  httplib::Server::Post(any, httplib::Server::HandlerWithContentReader(with_body));
  httplib::Server::Put(any, httplib::Server::HandlerWithContentReader(with_body));
  httplib::Server::Patch(any, httplib::Server::HandlerWithContentReader(with_body));
  httplib::Server::Delete(any, httplib::Server::HandlerWithContentReader(with_body));
  // The library matches paths by a recursive regular expression: long ones end before it.
  set_pre_routing_handler([](const httplib::Request& request, httplib::Response& response) {
    if (request.path.size() <= kPathBytesMax) {
      return HandlerResponse::Unhandled;
    }
    response.status = 414;
    serving->must_close = true;
    return HandlerResponse::Handled;
  });
  set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (response.body.empty() && response.content_length_ == 0 && !response.content_provider_) {
      response.set_content(
          absl::StrFormat("{\"error\":{\"message\":\"The request could not be read (HTTP status "
                          "%d).\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":"
                          "\"bad_request\"}}",
                          response.status),
          "application/json");
    }
  });
  set_payload_max_length(options_.body_bytes_max);
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(options_.keep_alive_timeout);
  set_keep_alive_timeout(seconds.count());
  set_keep_alive_max_count(1000);
}

void LibraryServer::Accept() {
  AcceptLoop(listener_.get(), stop_.get(), [this](engine::UniqueFd socket) {
    // Kept to say so when nobody can serve it. A copy, as the pool takes the socket.
    engine::UniqueFd copy(fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
    if (!pool_->Submit(std::move(socket)) && copy.valid()) {
      send(copy.get(), kRefusal.data(), kRefusal.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      shutdown(copy.get(), SHUT_WR);
    }
  });
}

bool LibraryServer::WaitForRequest(SocketStream* stream) {
  std::chrono::milliseconds waited{0};
  while (!stopping_ && waited < options_.keep_alive_timeout) {
    if (stream->WaitReadable(kStopPoll)) {
      return true;
    }
    waited += kStopPoll;
  }
  return false;
}

void LibraryServer::ServeConnection(engine::UniqueFd socket, bool overloaded) {
  SocketStream stream(std::move(socket), options_.read_timeout, options_.write_timeout);
  LibraryStream adapter(&stream);
  Serving state{.stream = &stream, .overloaded = overloaded, .must_close = false};
  serving = &state;
  // What a body may cost on the wire: chunk headers come on top of the body itself.
  const std::size_t body_budget =
      options_.body_bytes_max + options_.body_bytes_max / 4 + options_.header_bytes_max;
  bool closed = false;
  while (!closed && !state.must_close && WaitForRequest(&stream)) {
    ++active_;
    stream.SetReadBudget(options_.header_bytes_max);
    const bool sent = process_request(adapter, overloaded, closed, [&](httplib::Request& request) {
      stream.SetReadBudget(body_budget);
      // No partial answers; and no compression, which would hold events of a stream back.
      request.ranges.clear();
      request.headers.erase("Accept-Encoding");
    });
    --active_;
    closed = closed || !sent || overloaded || stopping_;
  }
  if (state.must_close) {
    DrainUnread(&stream);
  }
  serving = nullptr;
}

// Closing with unread bytes resets the connection, and the client would not see its answer.
void LibraryServer::DrainUnread(SocketStream* stream) {
  constexpr std::chrono::milliseconds kQuiet{300};
  shutdown(stream->fd(), SHUT_WR);
  stream->SetReadBudget(options_.body_bytes_max);
  std::array<char, 16384> discarded;
  while (stream->WaitReadable(kQuiet) && stream->Read(discarded.data(), discarded.size()) > 0) {
  }
}

void LibraryServer::ReadBody(const httplib::Request& request,
                             const httplib::ContentReader& reader,
                             httplib::Response& response,
                             HttpRequest* result) {
  const std::optional<std::uint64_t> length = ContentLength(request);
  const bool chunked = request.has_header("Transfer-Encoding");
  if (!length.has_value() && !chunked) {
    return;  // The library would read to the connection's end.
  }
  result->body_too_large = length.value_or(0) > options_.body_bytes_max;
  result->body_unreadable = request.is_multipart_form_data();
  bool complete = false;
  if (!result->body_too_large && !result->body_unreadable) {
    complete = reader([&](const char* data, std::size_t bytes) {
      result->body_too_large = result->body.size() + bytes > options_.body_bytes_max;
      if (!result->body_too_large) {
        result->body.append(data, bytes);
      }
      return !result->body_too_large;
    });
  }
  if (!complete) {
    serving->must_close = true;
    result->body_unreadable = result->body_unreadable || response.status == 415;
    if (!result->body_too_large && !result->body_unreadable) {
      result->body_incomplete = true;
    }
  }
  response.status = -1;
}

void LibraryServer::Handle(const httplib::Request& request,
                           httplib::Response& response,
                           const httplib::ContentReader* reader) {
  HttpRequest converted;
  converted.method = request.method;
  converted.path = request.path;
  converted.peer = request.remote_addr;
  for (const auto& [name, value] : request.headers) {
    converted.headers.emplace_back(name, value);
  }
  if (reader != nullptr) {
    ReadBody(request, *reader, response, &converted);
  }
  Send(handler_(converted, LiveConnection(serving->stream), serving->overloaded), response);
}

void LibraryServer::Send(HttpResponse result, httplib::Response& response) {
  response.status = result.status;
  for (const auto& [name, value] : result.headers) {
    response.set_header(name, value);
  }
  if (result.source == nullptr) {
    response.set_content(result.body, result.content_type);
    return;
  }
  const std::shared_ptr<BodySource> source = std::move(result.source);
  SocketStream* stream = serving->stream;
  response.set_chunked_content_provider(
      result.content_type, [source, stream](std::size_t, httplib::DataSink& sink) {
        // The library calls again for ever unless it is told that the client is gone.
        if (!stream->alive()) {
          return false;
        }
        std::string bytes;
        const bool more = source->Next(&bytes);
        if (!bytes.empty() && !sink.write(bytes.data(), bytes.size())) {
          return false;
        }
        if (!more) {
          sink.done();
        }
        return stream->alive() || !more;
      });
}

}  // namespace

std::string_view HttpRequest::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (std::equal(key.begin(), key.end(), name.begin(), name.end(), [](char a, char b) {
          return std::tolower(static_cast<unsigned char>(a)) ==
                 std::tolower(static_cast<unsigned char>(b));
        })) {
      return value;
    }
  }
  return {};
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(ServerOptions options,
                                                      RequestHandler handler) {
  absl::StatusOr<engine::UniqueFd> listener = Listen(options.address, options.port);
  if (!listener.ok()) {
    return listener.status();
  }
  engine::UniqueFd stop(eventfd(0, EFD_CLOEXEC));
  if (!stop.valid()) {
    return absl::UnavailableError("cannot make an event descriptor");
  }
  std::unique_ptr<Server> server = std::make_unique<LibraryServer>(
      std::move(options), std::move(handler), *std::move(listener), std::move(stop));
  return server;
}

}  // namespace sparkspan::head::http
