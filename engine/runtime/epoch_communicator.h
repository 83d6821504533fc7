#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>

#include "absl/status/status.h"
#include "engine/base/ids.h"
#include "engine/collective/communicator.h"
#include "engine/runtime/rank_position.h"

namespace sparkspan::engine::runtime {

// A rank's place in its group over many epochs. A model keeps one communicator for its life, but an
// error is final for a communicator: here is the one that the model keeps, and behind it each
// epoch's own. Operations are those of Communicator, by the thread that runs the model; Abort is
// thread-safe and reaches the communicator of the moment.
class EpochCommunicator final : public collective::Communicator {
 public:
  EpochCommunicator(Rank rank, int ranks) : rank_(rank), ranks_(ranks) {}

  // Begins an epoch. `communicator` has this rank and size, or is null: then operations return
  // Unavailable. The one before is let go of. Call where no operation is in progress.
  void Replace(std::shared_ptr<collective::Communicator> communicator);

  Rank rank() const override { return rank_; }
  int size() const override { return ranks_; }
  void BeginStep(collective::ExchangeTag tag) override;
  absl::Status AllReduceSum(std::span<float> io) override;
  absl::Status AllGather(std::span<const std::byte> part,
                         std::span<const std::size_t> part_bytes,
                         std::span<std::byte> whole) override;
  void Abort(absl::Status why) override;

  // How far the rank has come in the present epoch. BeginStep begins a step, FinishStep ends it;
  // Replace begins anew. Thread-safe.
  RankPosition position() const;
  void FinishStep();

 private:
  std::shared_ptr<collective::Communicator> current();
  // Says that the rank is inside an exchange for as long as it lives.
  class Exchanging;

  const Rank rank_;
  const int ranks_;
  mutable std::mutex mutex_;
  RankPosition position_;
  std::shared_ptr<collective::Communicator> current_;  // shared so that Abort outlives Replace
};

}  // namespace sparkspan::engine::runtime
