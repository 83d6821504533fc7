#include "engine/weights/slice_reader.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/base/thread.h"
#include "engine/base/unique_fd.h"

namespace sparkspan::engine::weights {
namespace {

// The first NaN code of `codes`, or their number. E8M0: 0xFF; E4M3: 0x7F and 0xFF.
std::size_t FindNan(Dtype dtype, std::span<const std::byte> codes) {
  const bool scale = dtype == Dtype::kE8m0;
  const std::uint64_t mask = scale ? ~std::uint64_t{0} : 0x7F7F7F7F7F7F7F7Fu;
  const std::uint64_t nan = scale ? ~std::uint64_t{0} : 0x7F7F7F7F7F7F7F7Fu;
  const auto is_nan = [&](std::byte code) {
    return scale ? code == std::byte{0xFF} : (code & std::byte{0x7F}) == std::byte{0x7F};
  };
  std::size_t i = 0;
  // Eight at a time: a byte of `difference` is zero where the code is a NaN.
  for (; i + 8 <= codes.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, &codes[i], 8);
    const std::uint64_t difference = (word & mask) ^ nan;
    if (((difference - 0x0101010101010101u) & ~difference & 0x8080808080808080u) != 0) {
      break;
    }
  }
  while (i < codes.size() && !is_nan(codes[i])) {
    ++i;
  }
  return i;
}

struct Free {
  void operator()(std::byte* data) const { std::free(data); }
};

class Reader {
 public:
  Reader(const ShardPlan& shard,
         const CheckpointIndex& index,
         const ReadPlan& plan,
         std::span<std::byte> arena,
         std::stop_token stop)
      : shard_(shard), index_(index), plan_(plan), arena_(arena), stop_(std::move(stop)) {}

  absl::Status Open() {
    files_ = std::vector<File>(index_.files.size());
    for (const ReadTask& task : plan_.tasks) {
      File& file = files_[static_cast<std::size_t>(task.file)];
      if (file.buffered.valid()) {
        continue;
      }
      const CheckpointFile& known = index_.files[static_cast<std::size_t>(task.file)];
      file.buffered.Reset(open(known.path.c_str(), O_RDONLY | O_CLOEXEC));
      struct stat info {};
      if (!file.buffered.valid() || fstat(file.buffered.get(), &info) != 0) {
        return absl::NotFoundError(absl::StrFormat(
            "%s: cannot be opened (%s)", known.path.string(), std::strerror(errno)));
      }
      if (static_cast<std::uint64_t>(info.st_size) != known.bytes) {
        return absl::DataLossError(
            absl::StrFormat("%s: is %d bytes, expected %d as when its header was read; something "
                            "writes to the checkpoint: load again when it is done",
                            known.path.string(),
                            info.st_size,
                            known.bytes));
      }
      // What a buffered read asks for, and no more: the plan knows better than read-ahead.
      posix_fadvise(file.buffered.get(), 0, 0, POSIX_FADV_RANDOM);
      file.direct.Reset(open(known.path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
      file.can_direct = file.direct.valid();
    }
    return absl::OkStatus();
  }

  // One reader's loop: takes tasks until none is left or one failed.
  void Run() {
    const std::unique_ptr<std::byte, Free> staging(
        static_cast<std::byte*>(std::aligned_alloc(kReadBlock, kStagingBytes)));
    CHECK(staging != nullptr) << "no memory for a staging buffer";
    while (!failed_.load(std::memory_order_relaxed)) {
      const std::size_t number = next_.fetch_add(1, std::memory_order_relaxed);
      if (number >= plan_.tasks.size()) {
        return;
      }
      const absl::Status status = RunTask(plan_.tasks[number], staging.get());
      if (!status.ok()) {
        const std::lock_guard lock(mutex_);
        if (why_.ok()) {
          why_ = status;
        }
        failed_.store(true, std::memory_order_relaxed);
      }
    }
  }

  // After all readers have ended.
  absl::StatusOr<ReadCounters> Result() {
    RETURN_IF_ERROR(why_);
    return ReadCounters{bytes_.load(), direct_bytes_.load(), reads_.load()};
  }

 private:
  struct File {
    UniqueFd buffered;
    UniqueFd direct;
    std::atomic<bool> can_direct{false};
  };

  absl::Status RunTask(const ReadTask& task, std::byte* staging) {
    File& file = files_[static_cast<std::size_t>(task.file)];
    const int fd = file.buffered.get();
    const auto offset = static_cast<off_t>(task.offset);
    const auto bytes = static_cast<off_t>(task.bytes);
    if (task.way == ReadWay::kPieces) {
      posix_fadvise(fd, offset, bytes, POSIX_FADV_WILLNEED);
      RETURN_IF_ERROR(ReadPieces(task, fd));
    } else {
      RETURN_IF_ERROR(ReadRun(task, file, staging));
      for (std::size_t i = 0; i < task.stretches; ++i) {
        RETURN_IF_ERROR(Scatter(task, plan_.stretches[task.first_stretch + i], staging));
      }
    }
    posix_fadvise(fd, offset, bytes, POSIX_FADV_DONTNEED);
    return absl::OkStatus();
  }

  absl::Status CheckWanted() const {
    return stop_.stop_requested() ? absl::CancelledError("loading was stopped") : absl::OkStatus();
  }

  // Reads the task's bytes into staging; a direct task may stop at the end of the file.
  absl::Status ReadRun(const ReadTask& task, File& file, std::byte* staging) {
    const std::uint64_t size = index_.files[static_cast<std::size_t>(task.file)].bytes;
    const std::uint64_t needed = std::min(task.bytes, size - task.offset);
    std::uint64_t have = 0;
    bool direct = task.way == ReadWay::kDirect && file.can_direct.load(std::memory_order_relaxed);
    while (have < needed) {
      RETURN_IF_ERROR(CheckWanted());
      // An interrupted direct read may stop anywhere; its rest is no longer aligned.
      direct = direct && have % kReadBlock == 0;
      const ssize_t got = pread(direct ? file.direct.get() : file.buffered.get(),
                                staging + have,
                                task.bytes - have,
                                static_cast<off_t>(task.offset + have));
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got < 0 && errno == EINVAL && direct) {
        // The file system takes the flag but not the reads.
        file.can_direct.store(false, std::memory_order_relaxed);
        direct = false;
        continue;
      }
      if (got <= 0) {
        return ReadError(task, got);
      }
      Count(got, direct);
      have += static_cast<std::uint64_t>(got);
    }
    return absl::OkStatus();
  }

  absl::Status ReadPieces(const ReadTask& task, int fd) {
    const ReadStretch& stretch = plan_.stretches[task.first_stretch];
    std::byte* const begin =
        arena_.data() + stretch.arena_offset + task.first_row * stretch.row_bytes;
    for (std::uint64_t row = 0; row < task.rows; ++row) {
      std::byte* const to = begin + row * stretch.row_bytes;
      std::uint64_t have = 0;
      while (have < stretch.row_bytes) {
        RETURN_IF_ERROR(CheckWanted());
        const ssize_t got = pread(fd,
                                  to + have,
                                  stretch.row_bytes - have,
                                  static_cast<off_t>(task.offset + row * stretch.stride + have));
        if (got < 0 && errno == EINTR) {
          continue;
        }
        if (got <= 0) {
          return ReadError(task, got);
        }
        Count(got, /*direct=*/false);
        have += static_cast<std::uint64_t>(got);
      }
    }
    return Check(stretch, {begin, static_cast<std::size_t>(task.rows * stretch.row_bytes)});
  }

  // Copies what staging holds of a stretch to its place.
  absl::Status Scatter(const ReadTask& task, const ReadStretch& stretch, const std::byte* staging) {
    const std::uint64_t from = task.offset;
    const std::uint64_t to = task.offset + task.bytes;
    std::uint64_t row = from > stretch.offset ? (from - stretch.offset) / stretch.stride : 0;
    if (stretch.rows == 1) {
      row = 0;
    }
    for (; row < stretch.rows; ++row) {
      const std::uint64_t row_begin = stretch.offset + row * stretch.stride;
      const std::uint64_t begin = std::max(from, row_begin);
      const std::uint64_t end = std::min(to, row_begin + stretch.row_bytes);
      if (row_begin >= to) {
        break;
      }
      if (begin >= end) {
        continue;
      }
      std::byte* const target =
          arena_.data() + stretch.arena_offset + row * stretch.row_bytes + (begin - row_begin);
      std::memcpy(target, staging + (begin - from), end - begin);
      RETURN_IF_ERROR(Check(stretch, {target, static_cast<std::size_t>(end - begin)}));
    }
    return absl::OkStatus();
  }

  // Refuses NaN codes among bytes just put into the arena.
  absl::Status Check(const ReadStretch& stretch, std::span<const std::byte> codes) const {
    const TensorSlice& slice = shard_.slices[stretch.slice];
    const Dtype dtype = slice.spec.dtype;
    if (dtype != Dtype::kE8m0 && dtype != Dtype::kE4m3) {
      return absl::OkStatus();
    }
    const std::size_t at = FindNan(dtype, codes);
    if (at == codes.size()) {
      return absl::OkStatus();
    }
    const std::int64_t element =
        codes.data() + at - (arena_.data() + slice.arena_offset);  // one byte each
    return absl::DataLossError(absl::StrFormat(
        "%s: tensor %s has the NaN code 0x%02X at row %d, column %d, expected numbers only; the "
        "file is damaged: fetch it again",
        index_.files[static_cast<std::size_t>(stretch.file)].path.string(),
        slice.spec.name,
        std::to_integer<unsigned>(codes[at]),
        slice.stored_rows.begin + element / slice.row_bytes(),
        slice.stored_columns.begin + element % slice.row_bytes()));
  }

  void Count(ssize_t got, bool direct) {
    bytes_.fetch_add(static_cast<std::uint64_t>(got), std::memory_order_relaxed);
    reads_.fetch_add(1, std::memory_order_relaxed);
    if (direct) {
      direct_bytes_.fetch_add(static_cast<std::uint64_t>(got), std::memory_order_relaxed);
    }
  }

  absl::Status ReadError(const ReadTask& task, ssize_t got) const {
    return absl::DataLossError(absl::StrFormat(
        "%s: cannot be read at byte %d (%s); check the disk, or fetch the file again",
        index_.files[static_cast<std::size_t>(task.file)].path.string(),
        task.offset,
        got < 0 ? std::strerror(errno) : "the file has shrunk"));
  }

  const ShardPlan& shard_;
  const CheckpointIndex& index_;
  const ReadPlan& plan_;
  const std::span<std::byte> arena_;
  const std::stop_token stop_;
  std::vector<File> files_;
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> failed_{false};
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> direct_bytes_{0};
  std::atomic<std::uint64_t> reads_{0};
  std::mutex mutex_;
  absl::Status why_;
};

}  // namespace

absl::StatusOr<ReadCounters> ReadSlices(const ShardPlan& shard,
                                        const CheckpointIndex& index,
                                        const ReadPlan& plan,
                                        int threads,
                                        std::span<std::byte> arena,
                                        const std::stop_token& stop) {
  CHECK_LE(shard.arena_bytes, static_cast<std::int64_t>(arena.size()));
  Reader reader(shard, index, plan, arena, stop);
  RETURN_IF_ERROR(reader.Open());
  {
    std::vector<Thread> readers;
    for (int i = 1; i < threads; ++i) {
      readers.emplace_back(absl::StrFormat("load-%d", i), [&] { reader.Run(); });
    }
    reader.Run();
  }
  return reader.Result();
}

}  // namespace sparkspan::engine::weights
