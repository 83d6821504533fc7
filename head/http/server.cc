#include "head/http/server.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <exception>
#include <optional>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "head/http/connections.h"
#include "head/http/listener.h"
#include "head/http/socket_stream.h"
#include "httplib.h"

// The library parses requests and frames responses. Accepting, threads, sockets and their time
// limits are ours: its accept loop ends at the first aborted connection, its pool has no limit, its
// bodies in chunks have none either, and its handlers cannot see that a client is gone.
namespace sparkspan::head::http {
namespace {

constexpr std::size_t kPathBytesMax = 2048;

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

class LibraryStream final : public httplib::Stream {
 public:
  explicit LibraryStream(SocketStream* stream) : stream_(stream) {}

  bool is_readable() const override { return true; }
  bool is_writable() const override { return stream_->alive(); }
  ssize_t read(char* out, std::size_t bytes) override { return stream_->Read(out, bytes); }
  ssize_t write(const char* data, std::size_t bytes) override {
    // What the library makes of a status that it does not know.
    constexpr std::string_view kUnnamed = "HTTP/1.1 499 Internal Server Error\r\n";
    std::string_view rest(data, bytes);
    if (rest.starts_with(kUnnamed)) {
      rest.remove_prefix(kUnnamed.size());
      if (!stream_->Write("HTTP/1.1 499 Client Closed Request\r\n")) {
        return -1;
      }
    }
    return stream_->Write(rest) ? static_cast<ssize_t>(bytes) : -1;
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

// How the end of a request's body is found.
struct BodyFrame {
  bool chunked = false;
  std::uint64_t bytes = 0;  // If not chunked.

  bool is_empty() const { return !chunked && bytes == 0; }
};

// Nothing where two readers could come to different ends (RFC 9112, 6.3): what one takes for the
// body's rest is the next request to the other.
std::optional<BodyFrame> FrameOf(const httplib::Request& request) {
  BodyFrame frame;
  const std::size_t lengths = request.get_header_value_count("Content-Length");
  frame.chunked = request.has_header("Transfer-Encoding");
  if (lengths + request.get_header_value_count("Transfer-Encoding") > 1 ||
      (frame.chunked &&
       !EqualsIgnoringCase(request.get_header_value("Transfer-Encoding"), "chunked"))) {
    return std::nullopt;
  }
  if (lengths == 1) {
    const std::string text = request.get_header_value("Content-Length");
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), frame.bytes);
    if (fault != std::errc() || end != text.data() + text.size()) {
      return std::nullopt;
    }
  }
  return frame;
}

// Those that the library gives a reader for their body.
bool TakesBody(std::string_view method) {
  return method == "POST" || method == "PUT" || method == "PATCH" || method == "DELETE";
}

// Encodings that the library undoes whatever it was built with.
bool IsReadableEncoding(std::string_view encoding) {
  return encoding.empty() || encoding == "identity" || encoding == "gzip" || encoding == "deflate";
}

// What to answer to a request that did not come to its end; 0 when we did not cut it.
int StatusOfCutRequest(const SocketStream& stream) {
  return stream.reads_ended() ? 503 : stream.reads_timed_out() ? 408 : 0;
}

HttpRequest Converted(const httplib::Request& request) {
  HttpRequest converted;
  converted.method = request.method;
  converted.path = request.path;
  converted.peer = request.remote_addr;
  for (const auto& [name, value] : request.headers) {
    converted.headers.emplace_back(name, value);
  }
  return converted;
}

// What the thread is serving: the library's handlers get no other way to know.
struct Serving {
  SocketStream* stream = nullptr;
  bool overloaded = false;
  BodyFrame frame;
  bool answered = false;    // The handler was asked; else an error is the library's own.
  bool must_close = false;  // Where a next request would begin is not known.
};
thread_local Serving* serving = nullptr;

class LibraryServer final : public Server, private httplib::Server {
 public:
  LibraryServer(ServerOptions options, RequestHandler handler)
      : options_(std::move(options)), handler_(std::move(handler)) {
    RegisterHandlers();
  }

  ~LibraryServer() override { Stop(); }

  absl::Status Begin();

  int port() const override { return port_; }
  void Stop() override { connections_.reset(); }

 private:
  void RegisterHandlers();
  bool ServeRequest(SocketStream& stream, bool overloaded);
  std::string Refusal(SocketStream& stream);
  HandlerResponse BeforeBody(const httplib::Request& request, httplib::Response& response);
  void Handle(const httplib::Request& request,
              httplib::Response& response,
              const httplib::ContentReader* reader);
  void Refuse(int status, const httplib::Request& request, httplib::Response& response);
  void ReadBody(const httplib::Request& request,
                const httplib::ContentReader& reader,
                httplib::Response& response,
                HttpRequest* result);
  void Answer(const HttpRequest& request, httplib::Response& response);
  void Send(HttpResponse result, httplib::Response& response);

  const ServerOptions options_;
  const RequestHandler handler_;
  int port_ = 0;
  std::unique_ptr<Connections> connections_;
};

absl::Status LibraryServer::Begin() {
  ASSIGN_OR_RETURN(engine::UniqueFd listener, Listen(options_.address, options_.port));
  port_ = BoundPort(listener.get());
  svr_sock_ = listener.get();  // Tells the library that it is not shutting down.
  ASSIGN_OR_RETURN(connections_,
                   Connections::Start(
                       std::move(listener),
                       {.threads = options_.threads,
                        .overload_threads = options_.overload_threads,
                        .idle_connections_max = options_.idle_connections_max,
                        .keep_alive_timeout = options_.keep_alive_timeout,
                        .stop_timeout = options_.stop_timeout},
                       [this](SocketStream& stream, bool overloaded) {
                         return ServeRequest(stream, overloaded);
                       },
                       [this](SocketStream& stream) { return Refusal(stream); }));
  return absl::OkStatus();
}

void LibraryServer::RegisterHandlers() {
  const std::string any = R"([^]*)";
  const HandlerWithContentReader with_body = [this](const httplib::Request& request,
                                                    httplib::Response& response,
                                                    const httplib::ContentReader& reader) {
    Handle(request, response, &reader);
  };
  Post(any, with_body);
  Put(any, with_body);
  Patch(any, with_body);
  httplib::Server::Delete(any, with_body);
  set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
    return BeforeBody(request, response);
  });
  set_post_routing_handler([](const httplib::Request&, httplib::Response& response) {
    if (serving->must_close || serving->stream->reads_ended()) {
      serving->must_close = true;
      response.headers.erase("Keep-Alive");
      response.headers.erase("Connection");
      response.set_header("Connection", "close");
    }
  });
  set_exception_handler(
      [](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
        LOG(ERROR) << "a request ended in an exception";
        serving->answered = false;
        response.status = 500;
      });
  set_error_handler([this](const httplib::Request& request, httplib::Response& response) {
    if (!serving->answered) {
      Refuse(response.status, request, response);
    }
  });
  set_payload_max_length(options_.body_bytes_max);
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(options_.keep_alive_timeout);
  set_keep_alive_timeout(seconds.count());
  set_keep_alive_max_count(1000);
}

bool LibraryServer::ServeRequest(SocketStream& stream, bool overloaded) {
  const auto limit = [&](std::chrono::milliseconds timeout) {
    return overloaded ? std::min(timeout, options_.overload_timeout) : timeout;
  };
  // What a body may cost on the wire: chunk headers come on top of the body itself.
  const std::size_t body_budget =
      options_.body_bytes_max + options_.body_bytes_max / 4 + options_.header_bytes_max;
  LibraryStream adapter(&stream);
  Serving state;
  state.stream = &stream;
  state.overloaded = overloaded;
  serving = &state;
  stream.LimitReads(options_.header_bytes_max, Patience(limit(options_.header_timeout)));
  stream.LimitWrites(Patience(limit(options_.write_timeout), options_.write_bytes_per_second_min));
  bool closed = false;
  const bool sent = process_request(adapter, overloaded, closed, [&](httplib::Request& request) {
    stream.LimitReads(body_budget,
                      Patience(limit(options_.body_timeout), options_.body_bytes_per_second_min));
    // No partial answers; and no compression, which would hold events of a stream back.
    request.ranges.clear();
    request.headers.erase("Accept-Encoding");
  });
  serving = nullptr;
  if (state.must_close) {
    constexpr std::chrono::milliseconds kLinger{500};
    constexpr std::size_t kLingerBytesPerSecondMin = std::size_t{1} << 20;
    stream.EndWrites(options_.body_bytes_max, Patience(kLinger, kLingerBytesPerSecondMin));
  }
  return sent && !closed && !overloaded && !state.must_close && !stream.reads_ended();
}

std::string LibraryServer::Refusal(SocketStream& stream) {
  HttpRequest unread;
  unread.refused_status = 503;
  const HttpResponse response = handler_(unread, LiveConnection(&stream), /*overloaded=*/true);
  std::string text = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n";
  for (const auto& [name, value] : response.headers) {
    text += absl::StrFormat("%s: %s\r\n", name, value);
  }
  return text + absl::StrFormat("Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
                                response.content_type,
                                response.body.size(),
                                response.body);
}

httplib::Server::HandlerResponse LibraryServer::BeforeBody(const httplib::Request& request,
                                                           httplib::Response& response) {
  // The library matches paths by a recursive regular expression: long ones end before it.
  const bool is_path_too_long = request.path.size() > kPathBytesMax;
  const std::optional<BodyFrame> frame = FrameOf(request);
  if (is_path_too_long || !frame.has_value()) {
    Refuse(is_path_too_long ? 414 : 400, request, response);
    return HandlerResponse::Handled;
  }
  serving->frame = *frame;
  if (TakesBody(request.method)) {
    return HandlerResponse::Unhandled;
  }
  serving->must_close = !frame->is_empty();  // The library leaves it unread.
  Handle(request, response, nullptr);
  return HandlerResponse::Handled;
}

void LibraryServer::ReadBody(const httplib::Request& request,
                             const httplib::ContentReader& reader,
                             httplib::Response& response,
                             HttpRequest* result) {
  const BodyFrame& frame = serving->frame;
  if (frame.is_empty()) {
    return;  // Without a length the library would read to the connection's end.
  }
  // The library's reader of chunks takes some broken ones for the end of the body.
  serving->must_close = frame.chunked;
  result->body_too_large = frame.bytes > options_.body_bytes_max;
  result->body_unreadable = request.is_multipart_form_data() ||
                            !IsReadableEncoding(request.get_header_value("Content-Encoding"));
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
    result->refused_status = StatusOfCutRequest(*serving->stream);
    result->body_incomplete = !result->body_too_large && !result->body_unreadable;
  }
  response.status = -1;
}

void LibraryServer::Handle(const httplib::Request& request,
                           httplib::Response& response,
                           const httplib::ContentReader* reader) {
  HttpRequest converted = Converted(request);
  if (reader != nullptr) {
    ReadBody(request, *reader, response, &converted);
  }
  Answer(converted, response);
}

void LibraryServer::Refuse(int status,
                           const httplib::Request& request,
                           httplib::Response& response) {
  serving->must_close = true;
  HttpRequest converted = Converted(request);
  const int cut = StatusOfCutRequest(*serving->stream);
  converted.refused_status = cut != 0 ? cut : status;
  Answer(converted, response);
}

void LibraryServer::Answer(const HttpRequest& request, httplib::Response& response) {
  serving->answered = true;
  Send(handler_(request, LiveConnection(serving->stream), serving->overloaded), response);
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
    if (EqualsIgnoringCase(key, name)) {
      return value;
    }
  }
  return {};
}

std::size_t ThreadsFor(std::int64_t requests_max) {
  constexpr std::int64_t kSpare = 64;
  return static_cast<std::size_t>(std::clamp<std::int64_t>(requests_max, 64, 2048 - kSpare) +
                                  kSpare);
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(ServerOptions options,
                                                      RequestHandler handler) {
  auto server = std::make_unique<LibraryServer>(std::move(options), std::move(handler));
  RETURN_IF_ERROR(server->Begin());
  return server;
}

}  // namespace sparkspan::head::http
