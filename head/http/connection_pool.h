#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/base/bounded_queue.h"
#include "engine/base/thread.h"
#include "engine/base/unique_fd.h"

namespace sparkspan::head::http {

// Threads that serve accepted connections, one each, and a few more for when those are all busy, so
// that health checks are answered under any load.
class ConnectionPool {
 public:
  // Serves one connection to its end. `overloaded`: on one of the few.
  using Serve = std::function<void(engine::UniqueFd socket, bool overloaded)>;

  ConnectionPool(std::size_t threads, std::size_t overload_threads, Serve serve);
  ~ConnectionPool();  // Waits for the connections being served.

  // False when even the overload threads have too much to do; the socket is then closed.
  bool Submit(engine::UniqueFd socket);

 private:
  void Run(engine::BoundedQueue<engine::UniqueFd>* sockets, bool overloaded);

  const Serve serve_;
  const std::size_t threads_max_;
  std::atomic<std::size_t> claimed_{0};  // Connections queued to or on ordinary threads.
  engine::BoundedQueue<engine::UniqueFd> sockets_;
  engine::BoundedQueue<engine::UniqueFd> overload_sockets_;
  std::vector<engine::Thread> threads_;
};

}  // namespace sparkspan::head::http
