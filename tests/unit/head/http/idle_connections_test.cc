#include "head/http/idle_connections.h"

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
