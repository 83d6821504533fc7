#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "engine/base/thread.h"
#include "engine/base/unique_fd.h"
#include "head/http/connection_pool.h"
#include "head/http/idle_connections.h"
#include "head/http/socket_stream.h"

namespace sparkspan::head::http {

struct ConnectionLimits {
  std::size_t threads;
  std::size_t overload_threads;
  std::size_t idle_connections_max;
  std::chrono::milliseconds keep_alive_timeout;
  std::chrono::milliseconds stop_timeout;
};

// The connections of a server, from their acceptance to their end. Idle ones wait on one thread
// for all; one with a request has a thread of its own until it is answered.
class Connections {
 public:
  // Answers the request that has begun; false when the connection ends with it. `overloaded`: on
  // one of the few threads for when the others are busy.
  using Answer = std::function<bool(SocketStream& stream, bool overloaded)>;
  // What to send to a connection that has no thread. Must not wait.
  using Refuse = std::function<std::string(SocketStream& stream)>;

  static absl::StatusOr<std::unique_ptr<Connections>> Start(engine::UniqueFd listener,
                                                            const ConnectionLimits& limits,
                                                            Answer answer,
                                                            Refuse refuse);
  Connections(const Connections&) = delete;
  ~Connections() { Stop(); }

  // Accepts nothing more and closes connections that are idle or still sending a request. Answers
  // may be completed for `stop_timeout`; after it their connections are broken. Returns when every
  // Answer has. Call it on one thread.
  void Stop();

 private:
  Connections(engine::UniqueFd listener,
              engine::UniqueFd stop,
              const ConnectionLimits& limits,
              Answer answer,
              Refuse refuse)
      : limits_(limits),
        answer_(std::move(answer)),
        refuse_(std::move(refuse)),
        listener_(std::move(listener)),
        stop_(std::move(stop)) {}

  // Finds a thread for a connection on which a request has begun.
  void Dispatch(std::unique_ptr<SocketStream> stream);
  // On a thread of the pool: answers what has come, then parks the connection.
  void Serve(std::unique_ptr<SocketStream> stream, bool overloaded);
  // False when the server stops.
  bool Enter(SocketStream* stream);
  void Leave(SocketStream* stream);
  void EndServed();

  const ConnectionLimits limits_;
  const Answer answer_;
  const Refuse refuse_;
  engine::UniqueFd listener_;
  const engine::UniqueFd stop_;

  std::mutex mutex_;
  std::condition_variable none_served_;
  std::set<SocketStream*> served_;
  bool stopping_ = false;

  std::unique_ptr<IdleConnections> idle_;
  std::unique_ptr<ConnectionPool> pool_;
  engine::Thread acceptor_;
};

}  // namespace sparkspan::head::http
