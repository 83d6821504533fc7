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
  // Not 0: it was not read, perhaps not even its first line, and is answered with this status.
  int refused_status = 0;

  // The first header of that name, case-insensitive; empty when there is none.
  std::string_view Header(std::string_view name) const;
};

// The client at the other end. Valid inside the handler and the body source.
class Connection {
 public:
  virtual ~Connection() = default;
  // False once the client has closed its side or the connection broke. Does not wait. A client that
  // only ends its own writes counts as gone: its end of the stream is all that either shows.
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
  // One thread serves one request at a time, also for the life of a stream.
  std::size_t threads = 256;
  // Threads of their own for requests that find no free thread above. The handler is told, and
  // answers only what is cheap.
  std::size_t overload_threads = 4;
  // Connections without a request, kept without a thread. More close the one idle for longest.
  std::size_t idle_connections_max = 512;
  std::size_t body_bytes_max = std::size_t{64} << 20;
  std::size_t header_bytes_max = std::size_t{64} << 10;
  // How long a client may keep a thread waiting (head/http/patience.h): for the whole of a header;
  // for a body, and for taking an answer, where bytes at these rates cost nothing.
  std::chrono::milliseconds header_timeout{10'000};
  std::chrono::milliseconds body_timeout{30'000};
  std::size_t body_bytes_per_second_min = std::size_t{16} << 10;
  std::chrono::milliseconds write_timeout{30'000};
  std::size_t write_bytes_per_second_min = std::size_t{4} << 10;
  std::chrono::milliseconds overload_timeout{2'000};  // In place of longer ones, on those threads.
  std::chrono::milliseconds keep_alive_timeout{15'000};
  std::chrono::milliseconds stop_timeout{3'000};  // For answers to be completed by Stop().
};

// Threads for a service that holds so many requests at once: each may have its thread, and some are
// left for what needs no engine. At least 128, at most 2048: beyond that requests find the server
// overloaded before its queue is full. An idle thread costs its stack's first pages.
std::size_t ThreadsFor(std::int64_t requests_max);

// Called on a thread of the pool; with `refused_status` 503 on one that must not wait.
// `overloaded`: the pool is full.
using RequestHandler = std::function<HttpResponse(
    const HttpRequest& request, const Connection& client, bool overloaded)>;

// Serves from Start() until it is destroyed.
class Server {
 public:
  static absl::StatusOr<std::unique_ptr<Server>> Start(ServerOptions options,
                                                       RequestHandler handler);
  virtual ~Server() = default;

  virtual int port() const = 0;
  // Stops accepting, and closes connections that are idle or still sending a request. Answers may
  // be completed for `stop_timeout`; after it their clients count as gone. Returns when every
  // handler has returned. Call it on one thread.
  virtual void Stop() = 0;
};

}  // namespace sparkspan::head::http
