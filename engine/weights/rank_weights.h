#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "engine/weights/arena.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/rank_share.h"
#include "engine/weights/shard_plan.h"
#include "engine/weights/slice_reader.h"

namespace sparkspan::engine::weights {

struct LoadOptions {
  // The draft stages too, and the whole embedding for them. Without, the stages are checked by
  // name, dtype and shape only.
  bool draft = false;
  int reader_threads = 4;     // 1 to 16
  std::stop_token stop = {};  // ends loading soon, with Cancelled
};

inline constexpr int kReaderThreadsMax = 16;

// What loading took.
struct LoadReport {
  RankShare share;
  std::int64_t slices = 0;
  std::int64_t slice_bytes = 0;
  std::int64_t arena_bytes = 0;
  ReadCounters read;
  double open_seconds = 0.0;  // configuration and headers
  double plan_seconds = 0.0;
  double read_seconds = 0.0;  // with the checks of codes
  double check_seconds = 0.0;

  std::string Text() const;  // one line, for people
};

// One rank's slices of a checkpoint in memory, in their stored formats, every slice at a multiple
// of kSliceAlignment. Immutable.
class RankWeights {
 public:
  const ModelShape& shape() const { return shape_; }
  const RankShare& share() const { return plan_.share; }
  const ShardPlan& plan() const { return plan_; }
  const LoadReport& report() const { return report_; }

  // Null: this rank holds nothing of that tensor.
  const TensorSlice* Find(std::string_view name) const;
  std::span<const std::byte> BytesOf(const TensorSlice& slice) const;

  // Keeps the bytes alive when this object is gone.
  std::shared_ptr<const Arena> arena() const { return arena_; }

 private:
  friend absl::StatusOr<std::shared_ptr<const RankWeights>> LoadRank(const Checkpoint& checkpoint,
                                                                     const RankShare& share,
                                                                     const LoadOptions& options);
  RankWeights() = default;
  absl::Status CheckTables(const Checkpoint& checkpoint) const;

  ModelShape shape_;
  ShardPlan plan_;
  std::unordered_map<std::string_view, std::size_t> slices_;  // views of plan_'s names
  std::shared_ptr<const Arena> arena_;
  LoadReport report_;
};

// Reads a rank's slices. Errors: the share's, of the files, of what they hold (slice_reader.h;
// routing tables that name experts the model does not have), Cancelled after options.stop.
absl::StatusOr<std::shared_ptr<const RankWeights>> LoadRank(const Checkpoint& checkpoint,
                                                            const RankShare& share,
                                                            const LoadOptions& options = {});

}  // namespace sparkspan::engine::weights
