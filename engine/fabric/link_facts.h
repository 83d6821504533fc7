#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "engine/fabric/pin.h"

namespace sparkspan::engine::fabric {

// What a declared interface is made of, for the status: nothing is decided by it but that its MTU
// stays. Empty or 0 is what the kernel does not say.
struct LinkFacts {
  std::int64_t mtu = 0;  // bytes
  std::int64_t speed_mbps = 0;
  std::string duplex;           // "full", "half"
  std::int64_t pcie_width = 0;  // lanes in use
  std::string pcie_speed;       // "32.0 GT/s PCIe"
  std::string driver;
  std::string rdma_device;
  int gid_index = -1;  // of the pin's address in the device's table; -1: it has none
  std::string gid;
  std::string network_namespace;  // of this thread: "net:[4026531840]"

  bool operator==(const LinkFacts&) const = default;
};

// As the files under `sysfs` say now. May wait for ever where a driver hangs, as whoever reads an
// interface's speed may: call it through CallWithDeadline.
LinkFacts ReadLinkFacts(const std::filesystem::path& sysfs, const DeclaredPin& pin);

}  // namespace sparkspan::engine::fabric
