#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <string_view>

#include "engine/base/unique_fd.h"
#include "head/http/patience.h"

namespace sparkspan::head::http {

// Buffered reads and whole writes on a connected socket. Both have limits, and wait for the peer no
// longer than those say. One thread at a time, but for what says otherwise.
class SocketStream {
 public:
  enum class Arrival { kNothing, kRequest, kEnd };

  explicit SocketStream(engine::UniqueFd socket);

  // Takes some of what has come, without waiting and without counting it. Empty lines before a
  // request are left out, as RFC 9112, 2.2 asks; kNothing may mean that only such have come so far.
  Arrival TakeArrived();

  // What may be read, and waited for, until the next call. Nothing before the first.
  void LimitReads(std::size_t bytes_max, Patience patience);
  // How long writes may wait until the next call.
  void LimitWrites(Patience patience) { write_patience_ = patience; }

  // Bytes read, 0 at the end, -1 on a fault, at the end of patience or of the bytes allowed.
  ssize_t Read(char* out, std::size_t bytes_max);
  // The peer was too slow since the last LimitReads.
  bool reads_timed_out() const { return reads_timed_out_; }
  // Writes all of it. False on a fault or at the end of patience: the stream is broken then.
  bool Write(std::string_view bytes);
  // Says that nothing more is written, and discards what still comes within the limits. Closing
  // with unread bytes would reset the connection, and the peer would not see its answer.
  void EndWrites(std::size_t bytes_max, Patience patience);

  // False once the peer has closed its side or the connection broke, also while bytes of it wait to
  // be read. A peer that only ends its own writes looks the same. Any thread.
  bool alive() const;
  // From now on reads find the end; writes go on. Any thread.
  void EndReads();
  bool reads_ended() const { return reads_ended_; }
  // From now on reads find the end and writes fail. Any thread.
  void Abort();

  int fd() const { return socket_.get(); }

 private:
  // Waits for `event`, at most as long as there is patience.
  bool Wait(short event, Patience* patience) const;
  // Whether anything else is in the buffer.
  bool SkipEmptyLines();
  // Fills the empty buffer without waiting; returns what recv() does.
  ssize_t FillBuffer();

  const engine::UniqueFd socket_;
  std::array<char, 16384> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t read_bytes_left_ = 0;
  Patience read_patience_;
  Patience write_patience_;
  bool reads_timed_out_ = false;
  std::atomic<bool> broken_{false};
  std::atomic<bool> reads_ended_{false};
};

}  // namespace sparkspan::head::http
