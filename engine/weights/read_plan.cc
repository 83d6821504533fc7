#include "engine/weights/read_plan.h"

#include <algorithm>

#include "engine/base/log.h"

namespace sparkspan::engine::weights {
namespace {

// Of the slices' bytes, what may be read between them for nothing.
constexpr std::uint64_t kGapShare = 200;
constexpr std::uint64_t kGapBytesMax = std::uint64_t{64} << 10;
// File bytes that one task of pieces spans, so that tasks spread over readers.
constexpr std::uint64_t kPiecesSpanBytes = std::uint64_t{8} << 20;

ReadStretch StretchOf(const TensorSlice& slice, std::size_t number, const TensorLocation& at) {
  const auto element = static_cast<std::uint64_t>(DtypeBytes(slice.spec.dtype));
  ReadStretch stretch;
  stretch.slice = number;
  stretch.file = at.file;
  stretch.stride = static_cast<std::uint64_t>(slice.spec.stored_columns()) * element;
  stretch.row_bytes = static_cast<std::uint64_t>(slice.row_bytes());
  stretch.rows = static_cast<std::uint64_t>(slice.stored_rows.size());
  stretch.offset = at.offset +
                   static_cast<std::uint64_t>(slice.stored_rows.begin) * stretch.stride +
                   static_cast<std::uint64_t>(slice.stored_columns.begin) * element;
  stretch.arena_offset = static_cast<std::uint64_t>(slice.arena_offset);
  if (stretch.row_bytes == stretch.stride) {
    stretch.row_bytes *= stretch.rows;
    stretch.rows = 1;
  }
  return stretch;
}

class Planner {
 public:
  explicit Planner(std::uint64_t slice_bytes) : gap_budget_(slice_bytes / kGapShare) {}

  ReadPlan Plan(std::vector<ReadStretch> stretches) {
    plan_.stretches = std::move(stretches);
    std::sort(plan_.stretches.begin(), plan_.stretches.end(), [](const auto& a, const auto& b) {
      return std::tie(a.file, a.offset) < std::tie(b.file, b.offset);
    });
    ChooseReadThrough();
    const std::vector<ReadStretch>& all = plan_.stretches;
    for (std::size_t i = 0; i < all.size();) {
      if (!read_through_[i]) {
        AddPieces(i++);
        continue;
      }
      std::size_t next = i + 1;
      std::uint64_t end = all[i].end();
      while (next < all.size() && read_through_[next] && all[next].file == all[i].file &&
             Bridge(end, all[next].offset)) {
        end = all[next++].end();
      }
      AddRun(i, next);
      i = next;
    }
    return std::move(plan_);
  }

 private:
  // Marks stretches that are read as they lie: those in one piece, and of the others, smallest
  // gaps first, as many as the budget allows.
  void ChooseReadThrough() {
    const std::vector<ReadStretch>& all = plan_.stretches;
    std::vector<std::size_t> cut;
    read_through_.assign(all.size(), true);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].rows > 1) {
        cut.push_back(i);
        read_through_[i] = false;
      }
    }
    std::stable_sort(cut.begin(), cut.end(), [&](std::size_t a, std::size_t b) {
      return all[a].stride - all[a].row_bytes < all[b].stride - all[b].row_bytes;
    });
    for (const std::size_t i : cut) {
      const std::uint64_t cost = (all[i].rows - 1) * (all[i].stride - all[i].row_bytes);
      if (cost <= gap_budget_) {
        gap_budget_ -= cost;
        read_through_[i] = true;
      }
    }
  }

  // Whether to read on from one stretch to the next.
  bool Bridge(std::uint64_t end, std::uint64_t begin) {
    CHECK_LE(end, begin);
    const std::uint64_t gap = begin - end;
    if (gap > std::min(gap_budget_, kGapBytesMax)) {
      return false;
    }
    gap_budget_ -= gap;
    return true;
  }

  // Stretches [first, last) lie together, but for gaps that are read too.
  void AddRun(std::size_t first, std::size_t last) {
    const std::vector<ReadStretch>& all = plan_.stretches;
    std::uint64_t begin = all[first].offset;
    std::uint64_t end = all[last - 1].end();
    ReadTask task;
    task.file = all[first].file;
    if (end - begin >= kDirectRunBytesMin) {
      task.way = ReadWay::kDirect;
      begin = begin / kReadBlock * kReadBlock;
      end = (end + kReadBlock - 1) / kReadBlock * kReadBlock;
    }
    std::size_t from = first;
    for (std::uint64_t at = begin; at < end; at += task.bytes) {
      task.offset = at;
      task.bytes = std::min(kStagingBytes, end - at);
      while (all[from].end() <= at) {
        ++from;
      }
      task.first_stretch = from;
      std::size_t to = from;
      while (to < last && all[to].offset < at + task.bytes) {
        ++to;
      }
      task.stretches = to - from;
      plan_.bytes += task.bytes;
      plan_.tasks.push_back(task);
    }
  }

  void AddPieces(std::size_t stretch) {
    const ReadStretch& cut = plan_.stretches[stretch];
    ReadTask task;
    task.file = cut.file;
    task.way = ReadWay::kPieces;
    task.first_stretch = stretch;
    task.stretches = 1;
    const std::uint64_t rows_max = std::max<std::uint64_t>(1, kPiecesSpanBytes / cut.stride);
    for (std::uint64_t row = 0; row < cut.rows; row += task.rows) {
      task.first_row = row;
      task.rows = std::min(rows_max, cut.rows - row);
      task.offset = cut.offset + row * cut.stride;
      task.bytes = (task.rows - 1) * cut.stride + cut.row_bytes;
      plan_.bytes += task.rows * cut.row_bytes;
      plan_.tasks.push_back(task);
    }
  }

  std::uint64_t gap_budget_;
  std::vector<bool> read_through_;
  ReadPlan plan_;
};

}  // namespace

ReadPlan PlanReads(const ShardPlan& shard, const CheckpointIndex& index) {
  std::vector<ReadStretch> stretches;
  stretches.reserve(shard.slices.size());
  for (std::size_t i = 0; i < shard.slices.size(); ++i) {
    const TensorSlice& slice = shard.slices[i];
    const auto at = index.tensors.find(slice.spec.name);
    CHECK(at != index.tensors.end()) << slice.spec.name;  // Checkpoint::Open saw all of them.
    stretches.push_back(StretchOf(slice, i, at->second));
  }
  return Planner(static_cast<std::uint64_t>(shard.slice_bytes)).Plan(std::move(stretches));
}

}  // namespace sparkspan::engine::weights
