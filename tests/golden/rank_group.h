#pragma once

#include <barrier>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "engine/collective/communicator.h"

namespace sparkspan::tests {

// The ranks of a group as threads of the test, exchanging through memory in rank order.
class RankGroup {
 public:
  explicit RankGroup(int ranks) : ranks_(ranks), barrier_(ranks), io_(ranks), parts_(ranks) {}

  // Calls body(rank, communicator) on one thread per rank; the communicator is null for one rank.
  void Run(const std::function<void(int, engine::collective::Communicator*)>& body) {
    if (ranks_ == 1) {
      body(0, nullptr);
      return;
    }
    std::vector<std::unique_ptr<engine::collective::Communicator>> members;
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < ranks_; ++rank) {
      members.push_back(std::make_unique<Member>(this, rank));
      threads.emplace_back([&body, rank, member = members.back().get()] { body(rank, member); });
    }
    threads.clear();
  }

 private:
  class Member final : public engine::collective::Communicator {
   public:
    Member(RankGroup* group, int rank) : group_(*group), rank_(rank) {}
    engine::Rank rank() const override { return engine::Rank(rank_); }
    int size() const override { return group_.ranks_; }
    void BeginStep(engine::collective::ExchangeTag) override {}
    void Abort(absl::Status) override {}

    absl::Status AllReduceSum(std::span<float> io) override {
      group_.io_[Index()] = io;
      group_.barrier_.arrive_and_wait();
      std::vector<float> sum(group_.io_[0].begin(), group_.io_[0].end());
      for (std::size_t rank = 1; rank < group_.io_.size(); ++rank) {
        for (std::size_t i = 0; i < sum.size(); ++i) {
          sum[i] += group_.io_[rank][i];
        }
      }
      group_.barrier_.arrive_and_wait();
      std::copy(sum.begin(), sum.end(), io.begin());
      return absl::OkStatus();
    }

    absl::Status AllGather(std::span<const std::byte> part,
                           std::span<const std::size_t>,
                           std::span<std::byte> whole) override {
      group_.parts_[Index()] = part;
      group_.barrier_.arrive_and_wait();
      std::byte* to = whole.data();
      for (const std::span<const std::byte> other : group_.parts_) {
        std::memcpy(to, other.data(), other.size());
        to += other.size();
      }
      group_.barrier_.arrive_and_wait();
      return absl::OkStatus();
    }

   private:
    std::size_t Index() const { return static_cast<std::size_t>(rank_); }

    RankGroup& group_;
    int rank_;
  };

  int ranks_;
  std::barrier<> barrier_;
  std::vector<std::span<float>> io_;
  std::vector<std::span<const std::byte>> parts_;
};

}  // namespace sparkspan::tests
