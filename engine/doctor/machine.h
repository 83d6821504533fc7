#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/fabric/interfaces.h"
#include "engine/fabric/routes.h"

namespace sparkspan::engine::doctor {

// Where the facts of a machine come from: the running one, or a folder that describes another.
struct Machine {
  std::filesystem::path root;  // sys, proc and etc lie under it
  std::shared_ptr<const fabric::AddressSource> addresses;
  std::shared_ptr<const fabric::RouteSource> routes;
  std::vector<std::string> environment;  // "NAME=value"

  std::filesystem::path sysfs() const { return root / "sys"; }
  std::filesystem::path proc() const { return root / "proc"; }
};

Machine ThisMachine();

// The machine that a folder describes: sys, proc and etc as copied from it, `addresses` with lines
// "INTERFACE ADDRESS/PREFIX", and `environ` with lines "NAME=value". Its routes are those of
// proc/net/route.
absl::StatusOr<Machine> MachineIn(const std::filesystem::path& root);

}  // namespace sparkspan::engine::doctor
