#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "engine/base/bounded_queue.h"
#include "engine/base/thread.h"
#include "head/http/socket_stream.h"

namespace sparkspan::head::http {

// Threads that serve connections with a request, one each, and a few more for when those are all
// busy, so that health checks are answered under any load.
class ConnectionPool {
 public:
  // Serves one connection. `overloaded`: on one of the few.
  using Serve = std::function<void(std::unique_ptr<SocketStream> stream, bool overloaded)>;

  ConnectionPool(std::size_t threads, std::size_t overload_threads, Serve serve);
  ~ConnectionPool();  // Serves what was submitted, to its end.

  // False when even the overload threads have too much to do; `stream` is then untouched.
  // Thread-safe.
  bool Submit(std::unique_ptr<SocketStream>&& stream);

 private:
  using Queue = engine::BoundedQueue<std::unique_ptr<SocketStream>>;

  void Run(Queue* streams, bool overloaded);

  const Serve serve_;
  const std::size_t threads_max_;
  std::atomic<std::size_t> claimed_{0};  // Connections queued to or on ordinary threads.
  Queue streams_;
  Queue overload_streams_;
  std::vector<engine::Thread> threads_;
};

}  // namespace sparkspan::head::http
