#include <string>

#include "absl/strings/str_format.h"
#include "engine/doctor/examination.h"

namespace sparkspan::engine::doctor {
namespace {

// Logs and the like stay possible.
constexpr std::int64_t kFreeBytesMin = std::int64_t{2} << 30;
// A restarted rank is out for as long as it loads.
constexpr double kLoadSecondsMax = 60;
constexpr double kGigabyte = 1e9;

void CheckSpace(const Examination& examination, Report* report) {
  const DiskFacts& disk = examination.facts.disk;
  if (!disk.free_bytes.has_value()) {
    report->Skip("disk.space", disk.why_not);
    return;
  }
  const std::string found =
      absl::StrFormat("%.1f GB free", static_cast<double>(*disk.free_bytes) / kGigabyte);
  if (*disk.free_bytes < kFreeBytesMin) {
    report->Warn("disk.space",
                 examination.facts.checkpoint.path,
                 found,
                 "at least 2 GiB",
                 "remove what is no longer needed from this file system");
  } else {
    report->Pass("disk.space", examination.facts.checkpoint.path, found);
  }
}

// Ranks of one node share the disk, and each loads its share of the weights.
void CheckSpeed(const Examination& examination, Report* report) {
  const DiskFacts& disk = examination.facts.disk;
  const auto ranks = static_cast<double>(examination.node.ranks.size());
  if (!disk.read_bytes_per_second.has_value() || *disk.read_bytes_per_second <= 0 || ranks == 0) {
    report->Skip("disk.speed", ranks == 0 ? "no rank runs here" : disk.why_not);
    return;
  }
  const double share = static_cast<double>(examination.facts.checkpoint.shard_bytes) * ranks /
                       examination.config.ranks();
  const double seconds = share / *disk.read_bytes_per_second;
  const std::string found = absl::StrFormat("%.2f GB/s: loading %.1f GB takes %.0f s or more",
                                            *disk.read_bytes_per_second / kGigabyte,
                                            share / kGigabyte,
                                            seconds);
  const double limit = static_cast<double>(examination.config.timeouts.start_ms) / 1e3;
  constexpr const char* kNext = "put the checkpoint on the machine's own NVMe disk";
  if (seconds > limit) {
    report->Fail("disk.speed",
                 examination.facts.checkpoint.path,
                 found,
                 absl::StrFormat("less than timeouts.start_ms, %.0f s", limit),
                 kNext);
  } else if (seconds > kLoadSecondsMax) {
    report->Warn("disk.speed",
                 examination.facts.checkpoint.path,
                 found,
                 absl::StrFormat("at most %.0f s", kLoadSecondsMax),
                 kNext);
  } else {
    report->Pass("disk.speed", examination.facts.checkpoint.path, found);
  }
}

}  // namespace

void CheckDisk(const Examination& examination, Report* report) {
  CheckSpace(examination, report);
  CheckSpeed(examination, report);
}

}  // namespace sparkspan::engine::doctor
