#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "engine/fabric/interfaces.h"

namespace sparkspan::engine::doctor {

// A name server that this machine asks by way of an interface.
struct NameServer {
  std::string address;
  std::string interface;
  std::string file;  // that says so

  bool operator==(const NameServer&) const = default;
};

// Those that systemd-resolved or systemd-networkd has of a link (run/systemd), and those of
// etc/resolv.conf that lie in the subnet of an interface.
std::vector<NameServer> ReadNameServers(const std::filesystem::path& root,
                                        std::span<const fabric::Interface> interfaces);

}  // namespace sparkspan::engine::doctor
