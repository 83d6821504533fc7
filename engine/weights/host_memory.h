#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace sparkspan::engine::weights {

// Where the kernel tells what memory there is; other paths in tests.
struct HostMemorySources {
  std::filesystem::path meminfo = "/proc/meminfo";
  std::filesystem::path own_cgroup = "/proc/self/cgroup";
  std::filesystem::path cgroup_root = "/sys/fs/cgroup";
};

struct AvailableMemory {
  std::int64_t bytes = 0;
  std::string limited_by;  // for messages: "MemAvailable", or the control group's memory.max
};

// What this process may still take: MemAvailable, or less where a control group (v2) of it or above
// it has a limit. Pages of files that a group may give up count as available.
absl::StatusOr<AvailableMemory> ReadAvailableMemory(const HostMemorySources& sources = {});

}  // namespace sparkspan::engine::weights
