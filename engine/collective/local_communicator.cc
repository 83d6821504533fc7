#include "engine/collective/local_communicator.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/base/thread.h"

namespace sparkspan::engine::collective {
namespace {

constexpr int kRanksMax = 64;

}  // namespace

// What the ranks share. They meet twice per exchange: when all have shown their part, and when all
// have read the others'.
class LocalGroup::Meeting {
 public:
  explicit Meeting(int ranks) : ranks_(ranks), parts_(static_cast<std::size_t>(ranks)) {}

  int ranks() const { return ranks_; }
  std::span<const std::span<const std::byte>> parts() const { return parts_; }

  // Waits for every rank's part. OK means that all are there and stay valid until Leave, even when
  // the group is aborted meanwhile: a rank that has gone on may not free what others still read.
  absl::Status Show(int rank, std::span<const std::byte> part) {
    std::unique_lock lock(mutex_);
    if (!why_.ok()) {
      return why_;
    }
    parts_[static_cast<std::size_t>(rank)] = part;
    const std::uint64_t round = Arrive();
    // Bounded by the other ranks' work; a rank that fails ends the wait through Abort.
    changed_.wait(lock, [&] { return round_ != round || !why_.ok(); });
    return round_ != round ? absl::OkStatus() : why_;
  }

  // Waits until every rank has read. All are past Show, so that none can be missing.
  void Leave() {
    std::unique_lock lock(mutex_);
    const std::uint64_t round = Arrive();
    changed_.wait(lock, [&] { return round_ != round; });
  }

  void Abort(absl::Status why) {
    CHECK(!why.ok()) << "a group is aborted with the reason";
    const std::lock_guard lock(mutex_);
    if (why_.ok()) {
      why_ = std::move(why);
    }
    changed_.notify_all();
  }

  absl::Status why() const {
    const std::lock_guard lock(mutex_);
    return why_;
  }

 private:
  // The round that this arrival belongs to. With mutex_ held.
  std::uint64_t Arrive() {
    const std::uint64_t round = round_;
    if (++arrived_ == ranks_) {
      arrived_ = 0;
      ++round_;
      changed_.notify_all();
    }
    return round;
  }

  const int ranks_;
  std::vector<std::span<const std::byte>> parts_;  // each written by its rank before a meeting
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  std::uint64_t round_ = 0;
  absl::Status why_;
};

class LocalGroup::RankCommunicator final : public Communicator {
 public:
  RankCommunicator(Meeting* meeting, int rank) : meeting_(*meeting), rank_(rank) {}

  Rank rank() const override { return Rank(rank_); }
  int size() const override { return meeting_.ranks(); }
  void BeginStep(ExchangeTag) override {}
  void Abort(absl::Status why) override { meeting_.Abort(std::move(why)); }

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
    meeting_.Leave();
    std::copy(sum_.begin(), sum_.end(), io.begin());
    return absl::OkStatus();
  }

  absl::Status AllGather(std::span<const std::byte> part,
                         std::span<const std::size_t> part_bytes,
                         std::span<std::byte> whole) override {
    RETURN_IF_ERROR(meeting_.Show(rank_, part));
    CHECK_EQ(part_bytes.size(), meeting_.parts().size());
    std::size_t offset = 0;
    for (std::size_t rank = 0; rank < part_bytes.size(); ++rank) {
      const std::span<const std::byte> other = meeting_.parts()[rank];
      CHECK_EQ(other.size(), part_bytes[rank]);
      CHECK_LE(offset + other.size(), whole.size());
      if (!other.empty()) {
        std::memcpy(whole.data() + offset, other.data(), other.size());
      }
      offset += other.size();
    }
    CHECK_EQ(offset, whole.size());
    meeting_.Leave();
    return absl::OkStatus();
  }

 private:
  Meeting& meeting_;
  int rank_;
  std::vector<float> sum_;
};

LocalGroup::LocalGroup(int ranks) : meeting_(std::make_unique<Meeting>(ranks)) {
  CHECK_GE(ranks, 1);
  CHECK_LE(ranks, kRanksMax);
  for (int rank = 0; rank < ranks; ++rank) {
    communicators_.push_back(std::make_unique<RankCommunicator>(meeting_.get(), rank));
  }
}

LocalGroup::~LocalGroup() = default;

Communicator& LocalGroup::communicator(int rank) {
  return *communicators_.at(static_cast<std::size_t>(rank));
}

void LocalGroup::Abort(absl::Status why) {
  meeting_->Abort(std::move(why));
}

absl::Status LocalGroup::why() const {
  return meeting_->why();
}

absl::Status RunRankThreads(int ranks,
                            const std::function<absl::Status(int, Communicator*)>& body) {
  if (ranks == 1) {
    return body(0, nullptr);
  }
  LocalGroup group(ranks);
  {
    std::vector<Thread> threads;
    for (int rank = 0; rank < ranks; ++rank) {
      threads.emplace_back("rank-" + std::to_string(rank), [&, rank] {
        const absl::Status status = body(rank, &group.communicator(rank));
        if (!status.ok()) {
          group.Abort(status);
        }
      });
    }
  }
  return group.why();
}

}  // namespace sparkspan::engine::collective
