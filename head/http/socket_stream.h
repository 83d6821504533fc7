#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <string_view>

#include "engine/base/unique_fd.h"

namespace sparkspan::head::http {

// Buffered reads and whole writes on a connected socket, each with a time limit, and a budget for
// the bytes of a request's head. One thread; alive() also while blocked elsewhere.
class SocketStream {
 public:
  SocketStream(engine::UniqueFd socket,
               std::chrono::milliseconds read_timeout,
               std::chrono::milliseconds write_timeout);

  // True when a request's first byte is there within `timeout`.
  bool WaitReadable(std::chrono::milliseconds timeout);
  // Bytes read, 0 at the end, -1 on a fault, a time-out or an exceeded budget.
  ssize_t Read(char* out, std::size_t bytes_max);
  // Writes all of it. False on a fault or a time-out, after which the stream is broken.
  bool Write(std::string_view bytes);

  // False once the peer has closed its side or the connection broke.
  bool alive() const;
  int fd() const { return socket_.get(); }

  // At most so many bytes may be read until the next call.
  void SetReadBudget(std::size_t bytes) { read_budget_ = bytes; }

 private:
  bool Wait(short events, std::chrono::milliseconds timeout) const;

  engine::UniqueFd socket_;
  const std::chrono::milliseconds read_timeout_;
  const std::chrono::milliseconds write_timeout_;
  std::array<char, 16384> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t read_budget_ = 0;
  bool broken_ = false;
};

}  // namespace sparkspan::head::http
