#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "engine/base/unique_fd.h"
#include "gtest/gtest.h"

// Clients of which a test says every byte, and when they close.
namespace sparkspan::head::http {

// Waits, at most half a minute, until `condition` holds.
template <typename Condition>
bool Eventually(Condition condition) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

// The server's end of the next connection to a listening socket that does not block.
inline engine::UniqueFd AcceptNext(int listener) {
  engine::UniqueFd socket;
  EXPECT_TRUE(Eventually([&] {
    socket.Reset(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    return socket.valid();
  }));
  return socket;
}

// Connected to a port of 127.0.0.1. Its reads give up after half a minute.
class RawSocket {
 public:
  // `receive_buffer_bytes` 0: the system's default.
  explicit RawSocket(int port, int receive_buffer_bytes = 0) : fd_(Open()) {
    if (receive_buffer_bytes > 0) {
      setsockopt(
          fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
    }
    const timeval patience{.tv_sec = 30, .tv_usec = 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    EXPECT_TRUE(Connect(fd_.get(), port));
  }
  // Whether anybody listens there.
  static bool Connects(int port) { return Connect(engine::UniqueFd(Open()).get(), port); }

  // False when the other side is gone.
  bool Send(std::string_view bytes) {
    return send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  // Reads until `text` has come.
  bool ReadUntil(std::string_view text) {
    while (seen_.find(text) == std::string::npos) {
      if (ReadSome() <= 0) {
        return false;
      }
    }
    return true;
  }
  // Reads to the end of the connection; false when it does not end.
  bool ReadToEnd() {
    ssize_t bytes = 0;
    do {
      bytes = ReadSome();
    } while (bytes > 0);
    return bytes == 0 || errno == ECONNRESET;
  }
  // Up to 4 KiB; as recv() returns.
  ssize_t ReadSome() {
    std::array<char, 4096> buffer;
    const ssize_t bytes = recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (bytes > 0) {
      seen_.append(buffer.data(), static_cast<std::size_t>(bytes));
    }
    return bytes;
  }
  const std::string& seen() const { return seen_; }

  void EndWrites() { shutdown(fd_.get(), SHUT_WR); }
  void Leave() { fd_.Reset(); }

 private:
  static int Open() { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }
  static bool Connect(int fd, int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }

  engine::UniqueFd fd_;
  std::string seen_;
};

}  // namespace sparkspan::head::http
