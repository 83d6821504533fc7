#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "engine/base/unique_fd.h"
#include "head/http/socket_stream.h"

namespace sparkspan::head::http {

// Connections between two requests, or before their first. One thread watches them all, so that
// they cost a descriptor and some memory each and nothing that a request needs.
class IdleConnections {
 public:
  // Gets a connection on which a request has begun. On the watching thread: must not wait.
  using Ready = std::function<void(std::unique_ptr<SocketStream> stream)>;

  // Keeps `connections_max` and closes each after `timeout`. Unavailable without descriptors.
  static absl::StatusOr<std::unique_ptr<IdleConnections>> Start(std::size_t connections_max,
                                                                std::chrono::milliseconds timeout,
                                                                Ready ready);
  IdleConnections(const IdleConnections&) = delete;
  ~IdleConnections() { Stop(); }

  // Watches it. Closes the one that is idle for longest when there are too many. Thread-safe.
  void Park(std::unique_ptr<SocketStream> stream);
  // Closes all; from now on Park() closes what it gets. Call it on one thread.
  void Stop();

 private:
  struct Entry {
    std::unique_ptr<SocketStream> stream;
    engine::Time deadline;
  };
  using Entries = std::list<Entry>;

  IdleConnections(std::size_t connections_max,
                  std::chrono::milliseconds timeout,
                  Ready ready,
                  engine::UniqueFd poll,
                  engine::UniqueFd wake);

  void Run();
  // Looks at a connection on which something happened.
  void Look(int fd);
  // Milliseconds until the next deadline, -1 without one.
  int CloseOverdue();
  std::unique_ptr<SocketStream> Take(Entries::iterator entry);  // With the lock held.

  const std::size_t connections_max_;
  const std::chrono::milliseconds timeout_;
  const Ready ready_;
  const engine::UniqueFd poll_;
  const engine::UniqueFd wake_;  // Written when the thread has to look at something else.
  std::mutex mutex_;
  Entries entries_;  // In the order of their parking, which is that of their deadlines.
  std::unordered_map<int, Entries::iterator> by_fd_;
  bool stopping_ = false;
  engine::Thread thread_;  // Last: it uses the others.
};

}  // namespace sparkspan::head::http
