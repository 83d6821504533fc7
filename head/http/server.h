#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Bytes of HTTP/1.1, nothing of what they mean. server.cc is the only file that sees the HTTP
// library.
namespace sparkspan::head::http {

struct HttpRequest {
  std::string method;
  std::string path;  // Decoded, without the query.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::string peer;
  bool body_too_large = false;   // The body was not read: answer 413.
  bool body_unreadable = false;  // Its encoding is not supported: answer 415.
  bool body_incomplete = false;  // It ended before its length, or was no valid encoding: 400.

  // The first header of that name, case-insensitive; empty when there is none.
  std::string_view Header(std::string_view name) const;
};

// The client at the other end. Valid inside the handler and the body source.
class Connection {
 public:
  virtual ~Connection() = default;
  // False once the client has closed its side or the connection broke. Does not wait.
  virtual bool alive() const = 0;
};

// A body that is made while it is sent.
class BodySource {
 public:
  virtual ~BodySource() = default;
  // Appends what comes next to *out, waiting for it no longer than about 100 ms; may append
  // nothing. False when the body is complete. Not called again once the client is gone.
  virtual bool Next(std::string* out) = 0;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  // In place of `body`, sent in chunks as it comes. Destroyed when sent or when the client is gone,
  // on the thread that sends.
  std::unique_ptr<BodySource> source;
};

struct ServerOptions {
  std::string address = "127.0.0.1";  // Bound to this and no other.
  int port = 0;                       // 0: any free one.
  // One thread serves one connection at a time, also for the life of a stream.
  std::size_t threads = 256;
  // Threads of their own for connections that find no free thread above. The handler is told, and
  // answers only what is cheap.
  std::size_t overload_threads = 4;
  std::size_t body_bytes_max = std::size_t{64} << 20;
  std::size_t header_bytes_max = std::size_t{64} << 10;
  std::chrono::milliseconds read_timeout{30'000};   // Between bytes of a request.
  std::chrono::milliseconds write_timeout{30'000};  // Until a slow reader takes more bytes.
  std::chrono::milliseconds keep_alive_timeout{15'000};
};

// Called on a thread of the pool. `overloaded`: the pool is full.
using RequestHandler = std::function<HttpResponse(
    const HttpRequest& request, const Connection& client, bool overloaded)>;

// Serves from Start() until it is destroyed.
class Server {
 public:
  static absl::StatusOr<std::unique_ptr<Server>> Start(ServerOptions options,
                                                       RequestHandler handler);
  virtual ~Server() = default;

  virtual int port() const = 0;
  // Connections being served now, idle kept-alive ones excluded.
  virtual std::int64_t active_requests() const = 0;
  // Stops accepting and closes idle connections; returns when every handler has returned.
  virtual void Stop() = 0;
};

}  // namespace sparkspan::head::http
