#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/model/thread_team.h"
#include "engine/weights/arena.h"

namespace sparkspan::deploy::cli {

// How fast this machine reads memory that is in no cache: threads of the kind that share a model's
// products read a buffer of the kind that holds its weights, each a stretch of its own, end to end.
// One thread at a time.
class ReadBandwidth {
 public:
  // Takes the memory and writes it once. ResourceExhausted: there is not so much.
  static absl::StatusOr<std::unique_ptr<ReadBandwidth>> Create(std::int64_t bytes, int threads);

  // Reads the buffer once; bytes per second.
  double Pass();

 private:
  ReadBandwidth(std::shared_ptr<engine::weights::Arena> buffer, int threads)
      : buffer_(std::move(buffer)), team_(threads) {}

  std::shared_ptr<engine::weights::Arena> buffer_;
  engine::model::ThreadTeam team_;
};

}  // namespace sparkspan::deploy::cli
