#include "head/http/idle_connections.h"

#include <poll.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "head/http/listener.h"
#include "tests/unit/head/http/loopback.h"

namespace sparkspan::head::http {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

class IdleConnectionsTest : public testing::Test {
 protected:
  void Start(std::size_t connections_max, milliseconds timeout) {
    auto idle = IdleConnections::Start(
        connections_max, timeout, [this](std::unique_ptr<SocketStream> stream) {
          is_handing_over_ = true;
          const std::lock_guard gate(gate_);
          const std::lock_guard lock(mutex_);
          ready_.push_back(std::move(stream));
        });
    ASSERT_TRUE(idle.ok()) << idle.status();
    idle_ = *std::move(idle);
    auto listener = Listen("127.0.0.1", 0);
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
  }

  // A client whose connection is parked.
  std::unique_ptr<RawSocket> Park() {
    auto client = std::make_unique<RawSocket>(BoundPort(listener_.get()));
    idle_->Park(std::make_unique<SocketStream>(AcceptNext(listener_.get())));
    return client;
  }

  std::size_t ready() {
    const std::lock_guard lock(mutex_);
    return ready_.size();
  }

  std::mutex gate_;  // Holds up the watching thread while a test has it.
  std::atomic<bool> is_handing_over_ = false;
  std::mutex mutex_;
  std::vector<std::unique_ptr<SocketStream>> ready_;
  engine::UniqueFd listener_;
  std::unique_ptr<IdleConnections> idle_;
};

TEST_F(IdleConnectionsTest, HandsOverWhatARequestBeginsOnAndNothingElse) {
  Start(10, hours(1));
  const auto silent = Park();
  const auto speaking = Park();
  const auto empty_lines = Park();
  empty_lines->Send("\r\n\r\n");
  speaking->Send("GET");
  ASSERT_TRUE(Eventually([&] { return ready() == 1; }));
  char text[3] = {};
  ready_[0]->LimitReads(sizeof(text), Patience(hours(1)));
  EXPECT_EQ(ready_[0]->Read(text, sizeof(text)), 3);
  EXPECT_EQ(std::string(text, 3), "GET");
  // And again, after it was parked a second time.
  idle_->Park(std::move(ready_[0]));
  speaking->Send("x");
  ASSERT_TRUE(Eventually([&] { return ready() == 2; }));
}

TEST_F(IdleConnectionsTest, ClosesTheOldestWhenThereAreTooMany) {
  Start(2, hours(1));
  const auto first = Park();
  const auto second = Park();
  const auto third = Park();
  EXPECT_TRUE(first->ReadToEnd());
  second->Send("x");
  third->Send("x");
  EXPECT_TRUE(Eventually([&] { return ready() == 2; }));
}

TEST_F(IdleConnectionsTest, ClosesNoneThatHasAskedForOneThatHasNot) {
  Start(2, hours(1));
  std::unique_lock gate(gate_);
  const auto first = Park();
  first->Send("x");
  ASSERT_TRUE(Eventually([&] { return is_handing_over_.load(); }));
  // The thread is busy: this one's bytes have come and are not looked at.
  const auto asking = std::make_unique<RawSocket>(BoundPort(listener_.get()));
  asking->Send("x");
  auto stream = std::make_unique<SocketStream>(AcceptNext(listener_.get()));
  pollfd arrival{.fd = stream->fd(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(poll(&arrival, 1, /*timeout=*/30'000), 1);
  idle_->Park(std::move(stream));
  const auto silent = Park();
  const auto newest = Park();
  EXPECT_TRUE(silent->ReadToEnd());
  newest->Send("x");
  gate.unlock();
  EXPECT_TRUE(Eventually([&] { return ready() == 3; }));
}

TEST_F(IdleConnectionsTest, ClosesWhatStaysIdle) {
  Start(10, milliseconds(20));
  const auto first = Park();
  EXPECT_TRUE(first->ReadToEnd());
  const auto second = Park();
  second->Send("\r\n");  // No request: it buys no time.
  EXPECT_TRUE(second->ReadToEnd());
  EXPECT_EQ(ready(), 0u);
}

TEST_F(IdleConnectionsTest, ClosesWhatItsPeerCloses) {
  Start(10, hours(1));
  const auto client = Park();
  client->EndWrites();
  EXPECT_TRUE(client->ReadToEnd());
  EXPECT_EQ(ready(), 0u);
}

TEST_F(IdleConnectionsTest, StopClosesAllAlsoWhatComesLater) {
  Start(10, hours(1));
  const auto client = Park();
  idle_->Stop();
  EXPECT_TRUE(client->ReadToEnd());
  EXPECT_TRUE(Park()->ReadToEnd());
}

}  // namespace
}  // namespace sparkspan::head::http
