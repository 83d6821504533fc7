#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/fabric/interfaces.h"
#include "engine/fabric/routes.h"

namespace sparkspan::engine::doctor {

// Of the file system that holds the checkpoint.
struct DiskFacts {
  std::optional<std::int64_t> free_bytes;
  // Of the largest shard, past the page cache.
  std::optional<double> read_bytes_per_second;
  std::string why_not;  // what is not there could not be had

  bool operator==(const DiskFacts&) const = default;
};

// Where the facts of a machine come from: the running one, or a folder that describes another.
struct Machine {
  std::filesystem::path root;  // sys, proc and etc lie under it
  std::shared_ptr<const fabric::AddressSource> addresses;
  std::shared_ptr<const fabric::RouteSource> routes;
  std::vector<std::string> environment;  // "NAME=value"
  std::optional<DiskFacts> disk;         // told; empty: to be measured

  std::filesystem::path sysfs() const { return root / "sys"; }
  std::filesystem::path proc() const { return root / "proc"; }
};

Machine ThisMachine();

// The machine that a folder describes: sys, proc and etc as copied from it, `addresses` with lines
// "INTERFACE ADDRESS/PREFIX", `environ` with lines "NAME=value", and `disk` with "FREE_BYTES
// READ_BYTES_PER_SECOND". Its routes are those of proc/net/route.
absl::StatusOr<Machine> MachineIn(const std::filesystem::path& root);

}  // namespace sparkspan::engine::doctor
