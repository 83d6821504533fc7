#include "engine/weights/rank_weights.h"

#include <chrono>
#include <cstring>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/weights/read_plan.h"

namespace sparkspan::engine::weights {
namespace {

// Seconds since it was last asked.
class Stopwatch {
 public:
  double Lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

constexpr double kMib = 1 << 20;

}  // namespace

std::string LoadReport::Text() const {
  const double mib = static_cast<double>(read.bytes) / kMib;
  return absl::StrFormat(
      "rank %d of %d: %d slices, %.1f MiB of weights in %.1f MiB; read %.1f MiB (%.3f of the "
      "slices, %.0f%% past the page cache) in %d reads; open %.2f s, plan %.2f s, read %.2f s "
      "(%.0f "
      "MiB/s), check %.2f s",
      share.rank,
      share.ranks,
      slices,
      static_cast<double>(slice_bytes) / kMib,
      static_cast<double>(arena_bytes) / kMib,
      mib,
      static_cast<double>(read.bytes) / static_cast<double>(slice_bytes),
      100.0 * static_cast<double>(read.direct_bytes) / static_cast<double>(read.bytes),
      read.reads,
      open_seconds,
      plan_seconds,
      read_seconds,
      read_seconds > 0.0 ? mib / read_seconds : 0.0,
      check_seconds);
}

const TensorSlice* RankWeights::Find(std::string_view name) const {
  const auto found = slices_.find(name);
  return found == slices_.end() ? nullptr : &plan_.slices[found->second];
}

std::span<const std::byte> RankWeights::BytesOf(const TensorSlice& slice) const {
  const std::shared_ptr<const Arena>& arena = arena_;
  return arena->bytes().subspan(static_cast<std::size_t>(slice.arena_offset),
                                static_cast<std::size_t>(slice.bytes()));
}

// Routing tables are the only tensors whose values index something.
absl::Status RankWeights::CheckTables(const Checkpoint& checkpoint) const {
  for (const TensorSlice& slice : plan_.slices) {
    if (slice.spec.dtype != Dtype::kI64) {
      continue;
    }
    const std::span<const std::byte> bytes = BytesOf(slice);
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
      std::int64_t id;
      std::memcpy(&id, &bytes[i], 8);
      if (id < 0 || id >= shape_.ops.experts) {
        return absl::DataLossError(absl::StrFormat(
            "%s: tensor %s sends token %d to expert %d, expected 0 to %d; the file is damaged or "
            "not of this config.json: fetch both again",
            checkpoint.folder().string(),
            slice.spec.name,
            static_cast<std::int64_t>(i / 8) / slice.spec.stored_columns(),
            id,
            shape_.ops.experts - 1));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const RankWeights>> LoadRank(const Checkpoint& checkpoint,
                                                            const RankShare& share,
                                                            const LoadOptions& options) {
  if (options.reader_threads < 1 || options.reader_threads > kReaderThreadsMax) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "reader_threads is %d: give 1 to %d", options.reader_threads, kReaderThreadsMax));
  }
  Stopwatch watch;
  const std::shared_ptr<RankWeights> weights(new RankWeights());
  LoadReport& report = weights->report_;
  weights->shape_ = checkpoint.shape();
  ASSIGN_OR_RETURN(weights->plan_, PlanShard(checkpoint.shape(), share, options.draft));
  for (std::size_t i = 0; i < weights->plan_.slices.size(); ++i) {
    weights->slices_.emplace(weights->plan_.slices[i].spec.name, i);
  }
  const ReadPlan reads = PlanReads(weights->plan_, checkpoint.index());
  ASSIGN_OR_RETURN(const std::shared_ptr<Arena> arena, Arena::Create(weights->plan_.arena_bytes));
  weights->arena_ = arena;
  report.plan_seconds = watch.Lap();
  ASSIGN_OR_RETURN(report.read,
                   ReadSlices(weights->plan_,
                              checkpoint.index(),
                              reads,
                              options.reader_threads,
                              arena->bytes(),
                              options.stop));
  report.read_seconds = watch.Lap();
  RETURN_IF_ERROR(weights->CheckTables(checkpoint));
  report.check_seconds = watch.Lap();
  report.share = share;
  report.slices = static_cast<std::int64_t>(weights->plan_.slices.size());
  report.slice_bytes = weights->plan_.slice_bytes;
  report.arena_bytes = weights->plan_.arena_bytes;
  report.open_seconds = checkpoint.open_seconds();
  return std::shared_ptr<const RankWeights>(weights);
}

}  // namespace sparkspan::engine::weights
