#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/fabric/nccl_settings.h"

// The process's own environment. Changing it is not thread-safe: from main, before any thread
// starts and before NCCL's first call, which reads it once and for all.
namespace sparkspan::engine::fabric {

// "NAME=value" of this process.
std::vector<std::string> Environment();

// Takes the fabric variables out of the environment and returns them.
Variables ClearFabricVariables();

absl::Status Export(std::span<const Setting> settings);

// A file from which NCCL takes variables that the environment does not have. One baked into an
// image shows in no environment.
struct NcclConf {
  std::string file;
  Variables variables;

  bool operator==(const NcclConf&) const = default;
};

// Those that exist under `root`: what NCCL_CONF_FILE names in `environment`, or else .nccl.conf of
// HOME; and /etc/nccl.conf.
std::vector<NcclConf> ReadNcclConfs(const std::filesystem::path& root,
                                    std::span<const std::string> environment);

}  // namespace sparkspan::engine::fabric
