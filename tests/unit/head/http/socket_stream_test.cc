#include "head/http/socket_stream.h"

#include <sys/socket.h>

#include <memory>
#include <string>

#include "engine/base/thread.h"
#include "head/http/listener.h"
#include "tests/unit/head/http/loopback.h"

namespace sparkspan::head::http {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using Arrival = SocketStream::Arrival;

constexpr std::size_t kMany = std::size_t{1} << 30;
const Patience kForEver(hours(1));
constexpr milliseconds kShort{100};
constexpr int kSmallBuffer = 4096;

// A stream and the client at its other end.
class SocketStreamTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<engine::UniqueFd> listener = Listen("127.0.0.1", 0);
    ASSERT_TRUE(listener.ok()) << listener.status();
    client_ = std::make_unique<RawSocket>(BoundPort(listener->get()), kSmallBuffer);
    engine::UniqueFd socket = AcceptNext(listener->get());
    setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &kSmallBuffer, sizeof(kSmallBuffer));
    stream_ = std::make_unique<SocketStream>(std::move(socket));
    stream_->LimitReads(kMany, kForEver);
    stream_->LimitWrites(kForEver);
  }

  // Reads byte by byte to the end, a fault or `bytes_max`.
  std::string ReadAll(std::size_t bytes_max = kMany) {
    std::string text;
    char byte = 0;
    while (text.size() < bytes_max && (last_ = stream_->Read(&byte, 1)) > 0) {
      text += byte;
    }
    return text;
  }

  std::unique_ptr<SocketStream> stream_;
  std::unique_ptr<RawSocket> client_;
  ssize_t last_ = 1;  // What the last Read() returned.
};

TEST_F(SocketStreamTest, ReadsWhatCameUpToItsBudget) {
  client_->Send("abcdef");
  stream_->LimitReads(4, kForEver);
  EXPECT_EQ(ReadAll(), "abcd");
  EXPECT_EQ(last_, -1);
  EXPECT_FALSE(stream_->reads_timed_out());
  stream_->LimitReads(kMany, kForEver);
  client_->EndWrites();
  EXPECT_EQ(ReadAll(), "ef");
  EXPECT_EQ(last_, 0);
}

// A byte now and then does not begin a new time limit.
TEST_F(SocketStreamTest, APeerThatDripsBytesIsGivenUp) {
  constexpr std::size_t kBytesMax = 3000;
  stream_->LimitReads(kMany, Patience(kShort));
  engine::Thread drip("drip", [this] {
    for (std::size_t i = 0; i < kBytesMax && client_->Send("x"); ++i) {
      std::this_thread::sleep_for(milliseconds(5));
    }
  });
  EXPECT_LT(ReadAll(kBytesMax).size(), kBytesMax);
  EXPECT_EQ(last_, -1);
  EXPECT_TRUE(stream_->reads_timed_out());
  stream_.reset();
}

TEST_F(SocketStreamTest, APeerThatKeepsTheRateIsNot) {
  // All of it takes longer than the patience; each tenth byte earns a whole second.
  constexpr std::size_t kBursts = 100;
  stream_->LimitReads(kMany, Patience(milliseconds(2000), /*bytes_per_second_min=*/10));
  engine::Thread drip("drip", [this] {
    for (std::size_t i = 0; i < kBursts && client_->Send("0123456789"); ++i) {
      std::this_thread::sleep_for(milliseconds(22));
    }
  });
  EXPECT_EQ(ReadAll(10 * kBursts).size(), 10 * kBursts);
  EXPECT_FALSE(stream_->reads_timed_out());
}

TEST_F(SocketStreamTest, AReaderThatSipsIsGivenUp) {
  stream_->LimitWrites(Patience(kShort, /*bytes_per_second_min=*/std::size_t{100} << 20));
  engine::Thread sip("sip", [this] {
    while (client_->ReadSome() > 0) {
      std::this_thread::sleep_for(milliseconds(5));
    }
  });
  EXPECT_FALSE(stream_->Write(std::string(std::size_t{16} << 20, 'x')));
  EXPECT_FALSE(stream_->alive());
  EXPECT_FALSE(stream_->Write("more"));
  stream_.reset();
}

TEST_F(SocketStreamTest, WritesAllToAReaderThatKeepsUp) {
  constexpr std::size_t kBytes = std::size_t{4} << 20;
  engine::Thread read("read", [this] { EXPECT_TRUE(client_->ReadToEnd()); });
  EXPECT_TRUE(stream_->Write(std::string(kBytes, 'x')));
  stream_.reset();
  read.Join();
  EXPECT_EQ(client_->seen().size(), kBytes);
}

TEST_F(SocketStreamTest, APeerThatLeavesIsSeenBehindBytesOfIt) {
  EXPECT_TRUE(stream_->alive());
  client_->Send("\r\n");
  EXPECT_TRUE(stream_->alive());
  client_->Leave();
  EXPECT_TRUE(Eventually([&] { return !stream_->alive(); }));
}

TEST_F(SocketStreamTest, APeerThatEndsItsWritesCountsAsGone) {
  client_->EndWrites();
  EXPECT_TRUE(Eventually([&] { return !stream_->alive(); }));
  EXPECT_TRUE(stream_->Write("but reads")) << "what is sent still reaches it";
  EXPECT_TRUE(client_->ReadUntil("but reads"));
}

TEST_F(SocketStreamTest, EndedReadsEndAWaitAndLeaveWritesAlone) {
  engine::Thread end("end", [this] { stream_->EndReads(); });
  EXPECT_EQ(ReadAll(), "");
  EXPECT_EQ(last_, 0);
  client_->Send("late");
  EXPECT_EQ(ReadAll(), "");
  EXPECT_TRUE(stream_->alive());
  EXPECT_TRUE(stream_->Write("answer"));
  EXPECT_TRUE(client_->ReadUntil("answer"));
  stream_->Abort();
  EXPECT_FALSE(stream_->alive());
}

TEST_F(SocketStreamTest, AnAbortEndsAWriteThatNobodyReads) {
  engine::Thread abort("abort", [this] { stream_->Abort(); });
  EXPECT_FALSE(stream_->Write(std::string(std::size_t{16} << 20, 'x')));
  EXPECT_FALSE(stream_->alive());
}

TEST_F(SocketStreamTest, EmptyLinesBeforeARequestAreLeftOut) {
  EXPECT_EQ(stream_->TakeArrived(), Arrival::kNothing);
  client_->Send("\r\n\r\n");
  client_->Send("GET");
  ASSERT_TRUE(Eventually([&] { return stream_->TakeArrived() == Arrival::kRequest; }));
  EXPECT_EQ(ReadAll(3), "GET");
  EXPECT_EQ(stream_->TakeArrived(), Arrival::kNothing);
  client_->Leave();
  EXPECT_TRUE(Eventually([&] { return stream_->TakeArrived() == Arrival::kEnd; }));
}

TEST_F(SocketStreamTest, EndingWritesDiscardsWhatComesAndNoMore) {
  client_->Send("unread");
  stream_->EndWrites(kMany, Patience(kShort));
  EXPECT_TRUE(stream_->reads_timed_out()) << "the client has not closed";
  EXPECT_TRUE(client_->ReadToEnd());
  // It sends on and on: what is discarded has an end too.
  engine::Thread flood("flood", [this] {
    while (client_->Send(std::string(4096, 'x'))) {
    }
  });
  stream_->EndWrites(100'000, kForEver);
  EXPECT_FALSE(stream_->reads_timed_out());
  stream_.reset();
}

}  // namespace
}  // namespace sparkspan::head::http
