#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/doctor/facts.h"

namespace sparkspan::engine::doctor {

// The stored profiles of NetworkManager and netplan under `root`. What cannot be read (such files
// are root's) is left out.
std::vector<NetworkProfile> ReadNetworkProfiles(const std::filesystem::path& root);

// A keyfile of NetworkManager: [connection] interface-name, [ethernet] mac-address, [ipv4] method.
// Empty: it takes no wired interface by itself, being of another type or without autoconnect.
std::optional<NetworkProfile> ParseKeyfile(const std::string& file, std::string_view text);

// The ethernets of a netplan file: their names, or what `match` has (name, macaddress, driver), and
// dhcp4.
std::vector<NetworkProfile> ParseNetplan(const std::string& file, std::string_view text);

}  // namespace sparkspan::engine::doctor
