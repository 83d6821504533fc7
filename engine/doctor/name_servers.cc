#include "engine/doctor/name_servers.h"

#include <sstream>

#include "engine/fabric/address.h"
#include "engine/fabric/kernel_files.h"

namespace sparkspan::engine::doctor {
namespace {

namespace fs = std::filesystem;
using fabric::ReadText;

// The first server of a link's state file: "SERVERS=..." of the resolver, "DNS=..." of networkd.
std::string FirstServer(const fs::path& file) {
  std::istringstream lines(ReadText(file).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    for (const char* key : {"SERVERS=", "DNS="}) {
      std::string address;
      if (line.starts_with(key) &&
          std::istringstream(line.substr(std::string(key).size())) >> address) {
        return address;
      }
    }
  }
  return "";
}

bool Holds(const fabric::Interface& interface, fabric::Ipv4Address address) {
  for (const fabric::InterfaceAddress& own : interface.addresses) {
    if (NetworkOf(own.address, own.prefix_length) == NetworkOf(address, own.prefix_length)) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::vector<NameServer> ReadNameServers(const fs::path& root,
                                        std::span<const fabric::Interface> interfaces) {
  std::vector<NameServer> servers;
  for (const fabric::Interface& interface : interfaces) {
    const std::string index = std::to_string(interface.index);
    for (const fs::path& file :
         {root / "run/systemd/resolve/netif" / index, root / "run/systemd/netif/links" / index}) {
      if (std::string address = FirstServer(file); !address.empty()) {
        servers.push_back(
            {std::move(address), interface.name, "/" + fs::relative(file, root).string()});
        break;
      }
    }
  }
  std::istringstream lines(ReadText(root / "etc/resolv.conf").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string key;
    std::string text;
    if (!(words >> key >> text) || key != "nameserver") {
      continue;
    }
    const auto address = fabric::ParseIpv4(text);
    for (const fabric::Interface& interface : interfaces) {
      if (address.ok() && Holds(interface, *address)) {
        servers.push_back({text, interface.name, "/etc/resolv.conf"});
      }
    }
  }
  return servers;
}

}  // namespace sparkspan::engine::doctor
