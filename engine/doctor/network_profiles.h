#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/doctor/facts.h"

namespace sparkspan::engine::doctor {

// The stored profiles of NetworkManager and netplan under `root`. What cannot be read (such files
// are root's) is left out.
std::vector<NetworkProfile> ReadNetworkProfiles(const std::filesystem::path& root);

// A keyfile of NetworkManager: [connection] interface-name, [ipv4] method.
NetworkProfile ParseKeyfile(const std::string& file, std::string_view text);

// The ethernets of a netplan file: their names, or match.name, and dhcp4.
std::vector<NetworkProfile> ParseNetplan(const std::string& file, std::string_view text);

}  // namespace sparkspan::engine::doctor
