#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "engine/base/ids.h"

namespace sparkspan::engine::collective {

// Which exchange of which step this is. Both ends put it in every message and refuse another's,
// so that a stale or restarted peer can never be added in (docs/engine.md: invariants.epoch).
struct ExchangeTag {
  Epoch epoch;
  Step step;
};

// The ranks of one tensor-parallel group, seen from one of them. Operations are collective: every
// rank calls the same ones in the same order with the same sizes. One thread at a time per rank.
// An error is final for the epoch: the communicator must be aborted and made anew.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual Rank rank() const = 0;
  virtual int size() const = 0;

  // Names the step to which the following operations belong.
  virtual void BeginStep(ExchangeTag tag) = 0;

  // io[i] = sum over ranks of io[i], added in rank order, ((r0 + r1) + r2) + ..., in f32: the
  // result has the same bits on every rank and does not depend on io.size() (decisions 4).
  virtual absl::Status AllReduceSum(std::span<float> io) = 0;

  // Concatenates the ranks' parts in rank order into `whole`. `part_bytes` [size()] gives every
  // rank's part (shares may be uneven); part.size() == part_bytes[rank()].
  virtual absl::Status AllGather(std::span<const std::byte> part,
                                 std::span<const std::size_t> part_bytes,
                                 std::span<std::byte> whole) = 0;

  // Ends the group: operations in progress and later ones return `why` on this rank, and peers
  // notice. Thread-safe.
  virtual void Abort(absl::Status why) = 0;
};

}  // namespace sparkspan::engine::collective
