#pragma once

#include <functional>
#include <string>
#include <thread>

namespace sparkspan::engine {

// A thread with a name (at most 15 bytes are shown by the kernel), joined on destruction. The only
// place that makes threads; tests/tidy refuses std::thread elsewhere.
class Thread {
 public:
  Thread() = default;
  Thread(std::string name, std::function<void()> body);
  Thread(Thread&&) = default;
  Thread& operator=(Thread&& other) noexcept;
  ~Thread();

  // Waits for the body to end. Does nothing when there is no thread.
  void Join();

 private:
  std::thread thread_;
};

}  // namespace sparkspan::engine
