#include "head/http/socket_stream.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

namespace sparkspan::head::http {
namespace {

bool WouldWait(int fault) {
  return fault == EAGAIN || fault == EWOULDBLOCK || fault == EINTR;
}

}  // namespace

SocketStream::SocketStream(engine::UniqueFd socket) : socket_(std::move(socket)) {}

bool SocketStream::Wait(short event, Patience* patience) const {
  pollfd entry{.fd = socket_.get(), .events = event, .revents = 0};
  while (true) {
    const engine::Time began = std::chrono::steady_clock::now();
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(patience->left());
    const int ready = poll(&entry, 1, static_cast<int>(left.count()));
    const int fault = errno;
    patience->Waited(std::chrono::steady_clock::now() - began);
    if (ready >= 0 || fault != EINTR) {
      return ready > 0;
    }
  }
}

ssize_t SocketStream::FillBuffer() {
  const ssize_t bytes = recv(socket_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (bytes > 0) {
    begin_ = 0;
    end_ = static_cast<std::size_t>(bytes);
  }
  return bytes;
}

bool SocketStream::SkipEmptyLines() {
  while (begin_ < end_ && (buffer_[begin_] == '\r' || buffer_[begin_] == '\n')) {
    ++begin_;
  }
  return begin_ < end_;
}

SocketStream::Arrival SocketStream::TakeArrived() {
  if (SkipEmptyLines()) {
    return Arrival::kRequest;
  }
  const ssize_t bytes = FillBuffer();
  if (bytes == 0 || (bytes < 0 && !WouldWait(errno))) {
    return Arrival::kEnd;
  }
  return SkipEmptyLines() ? Arrival::kRequest : Arrival::kNothing;
}

void SocketStream::LimitReads(std::size_t bytes_max, Patience patience) {
  read_bytes_left_ = bytes_max;
  read_patience_ = patience;
  reads_timed_out_ = false;
}

ssize_t SocketStream::Read(char* out, std::size_t bytes_max) {
  if (reads_ended_) {
    return 0;
  }
  if (read_bytes_left_ == 0) {
    return -1;
  }
  while (begin_ == end_) {
    if (!Wait(POLLIN, &read_patience_)) {
      reads_timed_out_ = true;
      return -1;
    }
    const ssize_t bytes = FillBuffer();
    if (bytes == 0 || (bytes < 0 && !WouldWait(errno))) {
      return bytes;
    }
    read_patience_.Moved(static_cast<std::size_t>(std::max<ssize_t>(bytes, 0)));
  }
  const std::size_t bytes = std::min({bytes_max, end_ - begin_, read_bytes_left_});
  std::memcpy(out, buffer_.data() + begin_, bytes);
  begin_ += bytes;
  read_bytes_left_ -= bytes;
  return static_cast<ssize_t>(bytes);
}

bool SocketStream::Write(std::string_view bytes) {
  while (!bytes.empty() && !broken_) {
    const ssize_t sent =
        send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      write_patience_.Moved(static_cast<std::size_t>(sent));
    } else if (sent < 0 && WouldWait(errno)) {
      broken_ = !Wait(POLLOUT, &write_patience_);
    } else {
      broken_ = true;
    }
  }
  return !broken_;
}

void SocketStream::EndWrites(std::size_t bytes_max, Patience patience) {
  shutdown(socket_.get(), SHUT_WR);
  LimitReads(bytes_max, patience);
  std::array<char, 16384> discarded;
  while (Read(discarded.data(), discarded.size()) > 0) {
  }
}

bool SocketStream::alive() const {
  pollfd entry{.fd = socket_.get(), .events = POLLRDHUP, .revents = 0};
  if (broken_ || poll(&entry, 1, 0) < 0) {
    return false;
  }
  // Our own EndReads() shows as POLLRDHUP too. Looked at after the poll: it is set before.
  const int gone = POLLHUP | POLLERR | POLLNVAL | (reads_ended_ ? 0 : POLLRDHUP);
  return (entry.revents & gone) == 0;
}

void SocketStream::EndReads() {
  reads_ended_ = true;
  shutdown(socket_.get(), SHUT_RD);
}

void SocketStream::Abort() {
  shutdown(socket_.get(), SHUT_RDWR);
}

}  // namespace sparkspan::head::http
