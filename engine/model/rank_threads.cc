#include "engine/model/rank_threads.h"

#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/base/thread.h"

namespace sparkspan::engine::model {
namespace {

// What the ranks share. They meet twice per exchange: when all have shown their part, and when all
// have read the others'.
class Meeting {
 public:
  explicit Meeting(int ranks) : ranks_(ranks), parts_(static_cast<std::size_t>(ranks)) {}

  int ranks() const { return ranks_; }
  std::span<const std::span<const std::byte>> parts() const { return parts_; }

  absl::Status Show(int rank, std::span<const std::byte> part) {
    parts_[static_cast<std::size_t>(rank)] = part;
    return Meet();
  }

  absl::Status Meet() {
    std::unique_lock lock(mutex_);
    const std::uint64_t round = round_;
    if (++arrived_ == ranks_) {
      arrived_ = 0;
      ++round_;
      changed_.notify_all();
    }
    // Bounded by the other ranks' work; a rank that fails ends the wait through Abort.
    changed_.wait(lock, [&] { return round_ != round || !why_.ok(); });
    return why_;
  }

  void Abort(const absl::Status& why) {
    const std::lock_guard lock(mutex_);
    if (why_.ok()) {
      why_ = why;
    }
    changed_.notify_all();
  }

  absl::Status why() {
    const std::lock_guard lock(mutex_);
    return why_;
  }

 private:
  const int ranks_;
  std::vector<std::span<const std::byte>> parts_;  // each written by its rank before a meeting
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  std::uint64_t round_ = 0;
  absl::Status why_;
};

class ThreadCommunicator final : public collective::Communicator {
 public:
  ThreadCommunicator(Meeting* meeting, int rank) : meeting_(*meeting), rank_(rank) {}

  Rank rank() const override { return Rank(rank_); }
  int size() const override { return meeting_.ranks(); }
  void BeginStep(collective::ExchangeTag) override {}
  void Abort(absl::Status why) override { meeting_.Abort(why); }

  absl::Status AllReduceSum(std::span<float> io) override {
    RETURN_IF_ERROR(meeting_.Show(rank_, std::as_bytes(io)));
    sum_.resize(io.size());
    for (std::size_t rank = 0; rank < meeting_.parts().size(); ++rank) {
      const std::span<const std::byte> part = meeting_.parts()[rank];
      CHECK_EQ(part.size(), io.size_bytes());
      const auto* values = reinterpret_cast<const float*>(part.data());
      for (std::size_t i = 0; i < io.size(); ++i) {
        sum_[i] = rank == 0 ? values[i] : sum_[i] + values[i];
      }
    }
    RETURN_IF_ERROR(meeting_.Meet());
    std::copy(sum_.begin(), sum_.end(), io.begin());
    return absl::OkStatus();
  }

  absl::Status AllGather(std::span<const std::byte> part,
                         std::span<const std::size_t> part_bytes,
                         std::span<std::byte> whole) override {
    RETURN_IF_ERROR(meeting_.Show(rank_, part));
    std::size_t offset = 0;
    for (std::size_t rank = 0; rank < part_bytes.size(); ++rank) {
      const std::span<const std::byte> other = meeting_.parts()[rank];
      CHECK_EQ(other.size(), part_bytes[rank]);
      CHECK_LE(offset + other.size(), whole.size());
      std::memcpy(whole.data() + offset, other.data(), other.size());
      offset += other.size();
    }
    return meeting_.Meet();
  }

 private:
  Meeting& meeting_;
  int rank_;
  std::vector<float> sum_;
};

}  // namespace

absl::Status RunRankThreads(
    int ranks, const std::function<absl::Status(int, collective::Communicator*)>& body) {
  CHECK_GE(ranks, 1);
  CHECK_LE(ranks, 64);
  if (ranks == 1) {
    return body(0, nullptr);
  }
  Meeting meeting(ranks);
  {
    std::vector<Thread> threads;
    for (int rank = 0; rank < ranks; ++rank) {
      threads.emplace_back("rank-" + std::to_string(rank), [&, rank] {
        ThreadCommunicator communicator(&meeting, rank);
        const absl::Status status = body(rank, &communicator);
        if (!status.ok()) {
          meeting.Abort(status);
        }
      });
    }
  }
  return meeting.why();
}

}  // namespace sparkspan::engine::model
