#include "head/http/idle_connections.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/log.h"

namespace sparkspan::head::http {
namespace {

bool Watch(int poll, int fd) {
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  return epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) == 0;
}

// Something can be read, were it the end. Takes nothing.
bool HasNews(int fd) {
  pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&entry, 1, 0) > 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<IdleConnections>> IdleConnections::Start(
    std::size_t connections_max, std::chrono::milliseconds timeout, Ready ready) {
  CHECK_GT(connections_max, 0u);
  engine::UniqueFd poll(epoll_create1(EPOLL_CLOEXEC));
  engine::UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!poll.valid() || !wake.valid() || !Watch(poll.get(), wake.get())) {
    return absl::UnavailableError("cannot make descriptors to watch connections with");
  }
  return std::unique_ptr<IdleConnections>(new IdleConnections(
      connections_max, timeout, std::move(ready), std::move(poll), std::move(wake)));
}

IdleConnections::IdleConnections(std::size_t connections_max,
                                 std::chrono::milliseconds timeout,
                                 Ready ready,
                                 engine::UniqueFd poll,
                                 engine::UniqueFd wake)
    : connections_max_(connections_max),
      timeout_(timeout),
      ready_(std::move(ready)),
      poll_(std::move(poll)),
      wake_(std::move(wake)),
      thread_("http-idle", [this] { Run(); }) {}

void IdleConnections::Park(std::unique_ptr<SocketStream> stream) {
  const std::lock_guard lock(mutex_);
  if (stopping_) {
    return;
  }
  if (entries_.size() >= connections_max_) {
    // One that has asked waits for the thread, not the other way round.
    const auto idle = std::find_if(entries_.begin(), entries_.end(), [](const Entry& entry) {
      return !HasNews(entry.stream->fd());
    });
    Take(idle == entries_.end() ? entries_.begin() : idle);
  }
  const int fd = stream->fd();
  if (!Watch(poll_.get(), fd)) {
    LOG(WARNING) << "cannot watch a connection: " << std::strerror(errno);
    return;
  }
  entries_.push_back({std::move(stream), std::chrono::steady_clock::now() + timeout_});
  by_fd_[fd] = std::prev(entries_.end());
  if (entries_.size() == 1) {
    eventfd_write(wake_.get(), 1);  // The thread waits for no deadline yet.
  }
}

void IdleConnections::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  eventfd_write(wake_.get(), 1);
  thread_.Join();
  by_fd_.clear();
  entries_.clear();
}

std::unique_ptr<SocketStream> IdleConnections::Take(Entries::iterator entry) {
  std::unique_ptr<SocketStream> stream = std::move(entry->stream);
  epoll_ctl(poll_.get(), EPOLL_CTL_DEL, stream->fd(), nullptr);
  by_fd_.erase(stream->fd());
  entries_.erase(entry);
  return stream;
}

int IdleConnections::CloseOverdue() {
  const std::lock_guard lock(mutex_);
  const engine::Time now = std::chrono::steady_clock::now();
  while (!entries_.empty() && entries_.front().deadline <= now) {
    Take(entries_.begin());
  }
  if (entries_.empty()) {
    return -1;
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(entries_.front().deadline - now);
  return static_cast<int>(left.count());
}

void IdleConnections::Look(int fd) {
  std::unique_ptr<SocketStream> stream;
  {
    const std::lock_guard lock(mutex_);
    const auto found = by_fd_.find(fd);
    if (found == by_fd_.end()) {
      return;  // Closed as the oldest since.
    }
    const SocketStream::Arrival arrival = found->second->stream->TakeArrived();
    if (arrival == SocketStream::Arrival::kNothing) {
      return;
    }
    stream = Take(found->second);
    if (arrival == SocketStream::Arrival::kEnd) {
      return;
    }
  }
  ready_(std::move(stream));
}

void IdleConnections::Run() {
  std::array<epoll_event, 64> events;
  while (true) {
    const int count =
        epoll_wait(poll_.get(), events.data(), static_cast<int>(events.size()), CloseOverdue());
    CHECK(count >= 0 || errno == EINTR) << "epoll_wait: " << std::strerror(errno);
    for (int i = 0; i < count; ++i) {
      if (events[static_cast<std::size_t>(i)].data.fd != wake_.get()) {
        Look(events[static_cast<std::size_t>(i)].data.fd);
      }
    }
    eventfd_t ignored = 0;
    eventfd_read(wake_.get(), &ignored);
    const std::lock_guard lock(mutex_);
    if (stopping_) {
      return;
    }
  }
}

}  // namespace sparkspan::head::http
