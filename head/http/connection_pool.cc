#include "head/http/connection_pool.h"

#include <optional>
#include <utility>

namespace sparkspan::head::http {
namespace {

constexpr std::size_t kOverloadQueue = 64;

}  // namespace

ConnectionPool::ConnectionPool(std::size_t threads, std::size_t overload_threads, Serve serve)
    : serve_(std::move(serve)),
      threads_max_(threads),
      sockets_(threads),
      overload_sockets_(kOverloadQueue) {
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back("http", [this] { Run(&sockets_, /*overloaded=*/false); });
  }
  for (std::size_t i = 0; i < overload_threads; ++i) {
    threads_.emplace_back("http-overload", [this] { Run(&overload_sockets_, true); });
  }
}

ConnectionPool::~ConnectionPool() {
  sockets_.Close();
  overload_sockets_.Close();
  threads_.clear();
}

bool ConnectionPool::Submit(engine::UniqueFd socket) {
  if (claimed_.fetch_add(1) < threads_max_ && sockets_.TryPush(std::move(socket))) {
    return true;
  }
  claimed_.fetch_sub(1);
  return overload_sockets_.TryPush(std::move(socket));
}

void ConnectionPool::Run(engine::BoundedQueue<engine::UniqueFd>* sockets, bool overloaded) {
  constexpr std::chrono::hours kLong{1};
  while (true) {
    std::optional<engine::UniqueFd> socket = sockets->Pop(engine::SteadyClock().Now() + kLong);
    if (socket.has_value()) {
      serve_(*std::move(socket), overloaded);
      if (!overloaded) {
        claimed_.fetch_sub(1);
      }
    } else if (sockets->closed()) {
      return;
    }
  }
}

}  // namespace sparkspan::head::http
