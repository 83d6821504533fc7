#include "head/http/connection_pool.h"

#include <fcntl.h>

#include <condition_variable>
#include <memory>
#include <mutex>

#include "tests/unit/head/http/loopback.h"

namespace sparkspan::head::http {
namespace {

// A connection to nobody: the pool hands it on and does not look at it.
std::unique_ptr<SocketStream> Stream() {
  return std::make_unique<SocketStream>(engine::UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC)));
}

// Serves nothing until it may; notes how.
class HeldServe {
 public:
  ConnectionPool::Serve Function() {
    return [this](std::unique_ptr<SocketStream>, bool overloaded) {
      std::unique_lock lock(mutex_);
      (overloaded ? overloaded_ : ordinary_) += 1;
      ended_.wait(lock, [this] { return may_end_; });
    };
  }
  void LetEnd() {
    const std::lock_guard lock(mutex_);
    may_end_ = true;
    ended_.notify_all();
  }
  int ordinary() {
    const std::lock_guard lock(mutex_);
    return ordinary_;
  }
  int overloaded() {
    const std::lock_guard lock(mutex_);
    return overloaded_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  int ordinary_ = 0;
  int overloaded_ = 0;
  bool may_end_ = false;
};

TEST(ConnectionPool, WhatFindsNoThreadGoesToTheFewAndThenNowhere) {
  HeldServe serve;
  int submitted = 0;
  {
    ConnectionPool pool(2, 1, serve.Function());
    for (; submitted < 3; ++submitted) {
      ASSERT_TRUE(pool.Submit(Stream()));
    }
    EXPECT_TRUE(Eventually([&] { return serve.ordinary() == 2 && serve.overloaded() == 1; }));
    std::unique_ptr<SocketStream> stream = Stream();
    while (submitted < 1000 && pool.Submit(std::move(stream))) {
      ++submitted;
      stream = Stream();
    }
    EXPECT_LT(submitted, 1000) << "the queue has an end";
    EXPECT_NE(stream, nullptr) << "what is refused stays with the caller";
    serve.LetEnd();
  }
  EXPECT_EQ(serve.ordinary(), 2);
  EXPECT_EQ(serve.overloaded(), submitted - 2) << "what was taken is served";
}

TEST(ConnectionPool, AThreadThatIsFreeAgainServesTheNext) {
  HeldServe serve;
  serve.LetEnd();
  ConnectionPool pool(1, 1, serve.Function());
  EXPECT_TRUE(Eventually([&] {
    EXPECT_TRUE(pool.Submit(Stream()));
    return serve.ordinary() >= 2;
  }));
}

}  // namespace
}  // namespace sparkspan::head::http
