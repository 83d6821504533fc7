#include "engine/doctor/network_profiles.h"

#include <map>
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

std::string TextOf(const YamlNode* map, std::string_view key) {
  const YamlNode* value = FindEntry(map, key);
  return value == nullptr ? "" : value->scalar;
}

bool IsTrue(const YamlNode* node) {
  return node != nullptr &&
         (node->scalar == "true" || node->scalar == "yes" || node->scalar == "on");
}

}  // namespace

std::optional<NetworkProfile> ParseKeyfile(const std::string& file, std::string_view text) {
  std::map<std::string, std::string> values;  // by "[section]key"
  std::string section;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('[')) {
      section = line.substr(0, line.find(']') + 1);
    } else if (const std::size_t equals = line.find('='); equals != std::string::npos) {
      values[section + line.substr(0, equals)] = line.substr(equals + 1);
    }
  }
  const std::string& type = values["[connection]type"];
  const bool is_wired = type.empty() || type == "ethernet" || type == "802-3-ethernet";
  if (!is_wired || values["[connection]autoconnect"] == "false") {
    return std::nullopt;
  }
  const std::string& mac = values["[ethernet]mac-address"];
  return NetworkProfile{.file = file,
                        .interface = values["[connection]interface-name"],
                        .mac = mac.empty() ? values["[802-3-ethernet]mac-address"] : mac,
                        .driver = "",
                        .uses_dhcp = values["[ipv4]method"] == "auto"};
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
    const YamlNode* match = FindEntry(&entry.value, "match");
    profiles.push_back({.file = file,
                        .interface = match == nullptr ? entry.key : TextOf(match, "name"),
                        .mac = TextOf(match, "macaddress"),
                        .driver = TextOf(match, "driver"),
                        .uses_dhcp = IsTrue(FindEntry(&entry.value, "dhcp4"))});
  }
  return profiles;
}

std::vector<NetworkProfile> ReadNetworkProfiles(const fs::path& root) {
  std::vector<NetworkProfile> profiles;
  const fs::path keyfiles = fs::path("etc") / "NetworkManager" / "system-connections";
  for (const std::string& name : fabric::EntryNames(root / keyfiles)) {
    if (const auto text = fabric::ReadText(root / keyfiles / name); text.has_value()) {
      auto profile = ParseKeyfile((fs::path("/") / keyfiles / name).string(), *text);
      if (profile.has_value()) {
        profiles.push_back(*std::move(profile));
      }
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
