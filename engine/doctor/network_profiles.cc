#include "engine/doctor/network_profiles.h"

#include <sstream>
#include <utility>

#include "engine/config/yaml_tree.h"
#include "engine/fabric/kernel_files.h"

namespace sparkspan::engine::doctor {
namespace {

namespace fs = std::filesystem;
using config::YamlNode;

const YamlNode* FindEntry(const YamlNode* map, std::string_view key) {
  if (map != nullptr) {
    for (const config::YamlEntry& entry : map->entries) {
      if (entry.key == key) {
        return &entry.value;
      }
    }
  }
  return nullptr;
}

bool IsTrue(const YamlNode* node) {
  return node != nullptr &&
         (node->scalar == "true" || node->scalar == "yes" || node->scalar == "on");
}

}  // namespace

NetworkProfile ParseKeyfile(const std::string& file, std::string_view text) {
  NetworkProfile profile{file, "", false};
  std::string section;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('[')) {
      section = line.substr(0, line.find(']') + 1);
    } else if (section == "[connection]" && line.starts_with("interface-name=")) {
      profile.interface = line.substr(line.find('=') + 1);
    } else if (section == "[ipv4]" && line == "method=auto") {
      profile.uses_dhcp = true;
    }
  }
  return profile;
}

std::vector<NetworkProfile> ParseNetplan(const std::string& file, std::string_view text) {
  std::vector<NetworkProfile> profiles;
  const absl::StatusOr<YamlNode> root = config::ParseYaml(text, file);
  const YamlNode* network = root.ok() ? FindEntry(&*root, "network") : nullptr;
  const YamlNode* ethernets = FindEntry(network, "ethernets");
  if (ethernets == nullptr) {
    return profiles;
  }
  for (const config::YamlEntry& entry : ethernets->entries) {
    const YamlNode* name = FindEntry(FindEntry(&entry.value, "match"), "name");
    profiles.push_back({file,
                        name == nullptr ? entry.key : name->scalar,
                        IsTrue(FindEntry(&entry.value, "dhcp4"))});
  }
  return profiles;
}

std::vector<NetworkProfile> ReadNetworkProfiles(const fs::path& root) {
  std::vector<NetworkProfile> profiles;
  const fs::path keyfiles = fs::path("etc") / "NetworkManager" / "system-connections";
  for (const std::string& name : fabric::EntryNames(root / keyfiles)) {
    if (const auto text = fabric::ReadText(root / keyfiles / name); text.has_value()) {
      profiles.push_back(ParseKeyfile((fs::path("/") / keyfiles / name).string(), *text));
    }
  }
  const fs::path plans = fs::path("etc") / "netplan";
  for (const std::string& name : fabric::EntryNames(root / plans)) {
    if (const auto text = fabric::ReadText(root / plans / name); text.has_value()) {
      for (NetworkProfile& profile : ParseNetplan((fs::path("/") / plans / name).string(), *text)) {
        profiles.push_back(std::move(profile));
      }
    }
  }
  return profiles;
}

}  // namespace sparkspan::engine::doctor
