#include "engine/runtime/epoch_communicator.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"

namespace sparkspan::engine::runtime {
namespace {

absl::Status NoEpoch(Rank rank) {
  return absl::UnavailableError(
      absl::StrFormat("rank %d is in no epoch: the cluster is being formed", rank.value()));
}

}  // namespace

class EpochCommunicator::Exchanging {
 public:
  Exchanging(EpochCommunicator& owner, Collective collective) : owner_(owner) {
    const std::lock_guard lock(owner_.mutex_);
    ++owner_.position_.exchanges;
    owner_.position_.collective = collective;
    owner_.position_.exchanging = true;
  }
  ~Exchanging() {
    const std::lock_guard lock(owner_.mutex_);
    owner_.position_.exchanging = false;
  }
  Exchanging(const Exchanging&) = delete;
  Exchanging& operator=(const Exchanging&) = delete;

 private:
  EpochCommunicator& owner_;
};

RankPosition EpochCommunicator::position() const {
  const std::lock_guard lock(mutex_);
  return position_;
}

void EpochCommunicator::FinishStep() {
  const std::lock_guard lock(mutex_);
  position_.finished = position_.begun;
}

std::shared_ptr<collective::Communicator> EpochCommunicator::current() {
  const std::lock_guard lock(mutex_);
  return current_;
}

void EpochCommunicator::Replace(std::shared_ptr<collective::Communicator> communicator) {
  if (communicator != nullptr) {
    CHECK_EQ(communicator->rank(), rank_);
    CHECK_EQ(communicator->size(), ranks_);
  }
  {
    const std::lock_guard lock(mutex_);
    std::swap(communicator, current_);
    position_ = {};
  }
}

void EpochCommunicator::BeginStep(collective::ExchangeTag tag) {
  {
    const std::lock_guard lock(mutex_);
    position_.begun = tag.step;
    position_.exchanges = 0;
    position_.collective = Collective::kNone;
  }
  if (const auto communicator = current()) {
    communicator->BeginStep(tag);
  }
}

absl::Status EpochCommunicator::AllReduceSum(std::span<float> io) {
  const Exchanging exchanging(*this, Collective::kAllReduce);
  const auto communicator = current();
  return communicator == nullptr ? NoEpoch(rank_) : communicator->AllReduceSum(io);
}

absl::Status EpochCommunicator::AllGather(std::span<const std::byte> part,
                                          std::span<const std::size_t> part_bytes,
                                          std::span<std::byte> whole) {
  const Exchanging exchanging(*this, Collective::kAllGather);
  const auto communicator = current();
  return communicator == nullptr ? NoEpoch(rank_)
                                 : communicator->AllGather(part, part_bytes, whole);
}

void EpochCommunicator::Abort(absl::Status why) {
  if (const auto communicator = current()) {
    communicator->Abort(std::move(why));
  }
}

}  // namespace sparkspan::engine::runtime
