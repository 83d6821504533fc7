#include "head/http/connection_pool.h"

#include <chrono>
#include <optional>
#include <utility>

namespace sparkspan::head::http {
namespace {

constexpr std::size_t kOverloadQueue = 64;

}  // namespace

ConnectionPool::ConnectionPool(std::size_t threads, std::size_t overload_threads, Serve serve)
    : serve_(std::move(serve)),
      threads_max_(threads),
      streams_(threads),
      overload_streams_(kOverloadQueue) {
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back("http", [this] { Run(&streams_, /*overloaded=*/false); });
  }
  for (std::size_t i = 0; i < overload_threads; ++i) {
    threads_.emplace_back("http-overload", [this] { Run(&overload_streams_, true); });
  }
}

ConnectionPool::~ConnectionPool() {
  streams_.Close();
  overload_streams_.Close();
  threads_.clear();
}

bool ConnectionPool::Submit(std::unique_ptr<SocketStream>&& stream) {
  if (claimed_.fetch_add(1) < threads_max_ && streams_.TryPush(std::move(stream))) {
    return true;
  }
  claimed_.fetch_sub(1);
  return overload_streams_.TryPush(std::move(stream));
}

void ConnectionPool::Run(Queue* streams, bool overloaded) {
  constexpr std::chrono::hours kLong{1};
  while (true) {
    std::optional<std::unique_ptr<SocketStream>> stream =
        streams->Pop(engine::SteadyClock().Now() + kLong);
    if (stream.has_value()) {
      serve_(*std::move(stream), overloaded);
      if (!overloaded) {
        claimed_.fetch_sub(1);
      }
    } else if (streams->closed()) {
      return;
    }
  }
}

}  // namespace sparkspan::head::http
