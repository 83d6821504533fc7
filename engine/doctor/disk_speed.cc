#include "engine/doctor/disk_speed.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/str_format.h"
#include "engine/base/unique_fd.h"
#include "engine/fabric/kernel_files.h"

namespace sparkspan::engine::doctor {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kAlignment = 4096;  // of what O_DIRECT reads, on every disk in use
constexpr std::size_t kBufferBytes = std::size_t{8} << 20;
constexpr std::chrono::seconds kReadTime{2};

fs::path LargestShard(const fs::path& folder) {
  fs::path largest;
  std::uintmax_t largest_bytes = 0;
  for (const std::string& name : fabric::EntryNames(folder)) {
    std::error_code fault;
    const std::uintmax_t bytes = fs::file_size(folder / name, fault);
    if (!fault && name.ends_with(".safetensors") && bytes > largest_bytes) {
      largest = folder / name;
      largest_bytes = bytes;
    }
  }
  return largest;
}

void MeasureReading(const fs::path& file, DiskFacts* disk) {
  const UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
  if (!fd.valid()) {
    disk->why_not = absl::StrFormat(
        "%s cannot be read past the page cache: %s", file.string(), std::strerror(errno));
    return;
  }
  const std::unique_ptr<void, decltype(&std::free)> buffer(
      std::aligned_alloc(kAlignment, kBufferBytes), &std::free);
  const auto began = std::chrono::steady_clock::now();
  std::chrono::duration<double> took{0};
  std::int64_t bytes = 0;
  for (ssize_t got = 1; got > 0 && took < kReadTime;) {
    got = read(fd.get(), buffer.get(), kBufferBytes);
    if (got < 0) {
      disk->why_not = absl::StrFormat("%s cannot be read: %s", file.string(), std::strerror(errno));
      return;
    }
    bytes += got;
    took = std::chrono::steady_clock::now() - began;
  }
  if (bytes > 0 && took.count() > 0) {
    disk->read_bytes_per_second = static_cast<double>(bytes) / took.count();
  }
}

}  // namespace

DiskFacts MeasureDisk(const std::string& folder) {
  DiskFacts disk;
  struct statvfs space {};
  if (statvfs(folder.c_str(), &space) != 0) {
    disk.why_not = "the checkpoint's file system is not here";
    return disk;
  }
  disk.free_bytes =
      static_cast<std::int64_t>(space.f_bavail) * static_cast<std::int64_t>(space.f_frsize);
  const fs::path shard = LargestShard(folder);
  if (shard.empty()) {
    disk.why_not = "there is no shard to read";
  } else {
    MeasureReading(shard, &disk);
  }
  return disk;
}

}  // namespace sparkspan::engine::doctor
