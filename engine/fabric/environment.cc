#include "engine/fabric/environment.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "absl/strings/str_format.h"
#include "engine/fabric/kernel_files.h"

namespace sparkspan::engine::fabric {
namespace {

std::string ValueOf(std::span<const std::string> environment, const std::string& name) {
  for (const std::string& entry : environment) {
    if (entry.starts_with(name + "=")) {
      return entry.substr(name.size() + 1);
    }
  }
  return "";
}

}  // namespace

std::vector<std::string> Environment() {
  std::vector<std::string> entries;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    entries.emplace_back(*entry);
  }
  return entries;
}

Variables ClearFabricVariables() {
  Variables cleared = FindFabricVariables(Environment());
  for (const auto& [name, value] : cleared) {
    unsetenv(name.c_str());
  }
  return cleared;
}

absl::Status Export(std::span<const Setting> settings) {
  for (const Setting& setting : settings) {
    if (setenv(setting.name.c_str(), setting.value.c_str(), /*overwrite=*/1) != 0) {
      return absl::InternalError(
          absl::StrFormat("cannot set %s: %s", setting.name, std::strerror(errno)));
    }
  }
  return absl::OkStatus();
}

std::vector<NcclConf> ReadNcclConfs(const std::filesystem::path& root,
                                    std::span<const std::string> environment) {
  std::vector<std::string> files;
  const std::string named = ValueOf(environment, "NCCL_CONF_FILE");
  const std::string home = ValueOf(environment, "HOME");
  if (!named.empty()) {
    files.push_back(named);
  } else if (!home.empty()) {
    files.push_back(home + "/.nccl.conf");
  }
  files.push_back("/etc/nccl.conf");
  std::vector<NcclConf> confs;
  for (const std::string& file : files) {
    const std::optional<std::string> text =
        ReadText(root / std::filesystem::path(file).relative_path());
    if (text.has_value()) {
      confs.push_back({file, ParseNcclConf(*text)});
    }
  }
  return confs;
}

}  // namespace sparkspan::engine::fabric
