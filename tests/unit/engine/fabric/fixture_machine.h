#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/fabric/interfaces.h"

namespace sparkspan::engine::fabric {

// A machine that the tests describe: a sysfs tree in a temporary folder, laid out as the kernel
// does it (class/net/NAME is a link to the device's own folder), and its addresses.
class FixtureMachine final : public AddressSource {
 public:
  FixtureMachine() {
    std::string name = (std::filesystem::temp_directory_path() / "fixture-sysfs-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    std::filesystem::create_directories(root_ / "class" / "net");
  }
  ~FixtureMachine() override { std::filesystem::remove_all(root_); }

  const std::filesystem::path& sysfs() const { return root_; }

  // An interface of a PCI function, or a virtual one where `pci` is empty.
  void AddInterface(const std::string& name,
                    const std::string& pci,
                    const std::map<std::string, std::string>& attributes) {
    const std::filesystem::path device =
        pci.empty() ? root_ / "devices" / "virtual" : root_ / "devices" / pci;
    const std::filesystem::path folder = device / "net" / name;
    std::filesystem::create_directories(folder);
    for (const auto& [file, text] : attributes) {
      std::ofstream(folder / file) << text << "\n";
    }
    if (!pci.empty()) {
      std::filesystem::create_directory_symlink(device, folder / "device");
      std::filesystem::create_directories(root_ / "bus" / "pci" / "drivers" / "mlx5_core");
      if (!std::filesystem::exists(device / "driver")) {
        std::filesystem::create_directory_symlink(root_ / "bus" / "pci" / "drivers" / "mlx5_core",
                                                  device / "driver");
        std::filesystem::create_directory_symlink(root_ / "bus" / "pci", device / "subsystem");
      }
    }
    std::filesystem::create_directory_symlink(folder, root_ / "class" / "net" / name);
  }

  // As the kernel lays it out: class/infiniband/NAME is a link into the function's own folder.
  void AddRdmaDevice(const std::string& pci, const std::string& name) {
    const std::filesystem::path device = root_ / "devices" / pci;
    const std::filesystem::path folder = device / "infiniband" / name;
    std::filesystem::create_directories(folder);
    std::filesystem::create_directory_symlink(device, folder / "device");
    std::filesystem::create_directories(root_ / "class" / "infiniband");
    std::filesystem::create_directory_symlink(folder, root_ / "class" / "infiniband" / name);
  }

  // A slot of a device's GID table; an empty one has neither type nor netdev.
  void AddGid(const std::string& device,
              int index,
              const std::string& gid,
              const std::string& type,
              const std::string& netdev) {
    const std::string port = "class/infiniband/" + device + "/ports/1/";
    Write(port + "gids/" + std::to_string(index), gid);
    if (!type.empty()) {
      Write(port + "gid_attrs/types/" + std::to_string(index), type);
      Write(port + "gid_attrs/ndevs/" + std::to_string(index), netdev);
    }
  }

  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text << "\n";
  }

  void AddFile(const std::string& path) { std::ofstream(root_ / path) << "\n"; }

  std::vector<InterfaceAddress> addresses;
  std::map<std::string, std::string> alternative_names;  // to the kernel's own

  absl::StatusOr<std::vector<InterfaceAddress>> Addresses() const override { return addresses; }
  std::optional<std::string> KernelName(const std::string& name) const override {
    const auto found = alternative_names.find(name);
    return found == alternative_names.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  std::filesystem::path root_;
};

// A DGX Spark with a cable in cage 1 only, and its management port.
inline void DescribeSpark(FixtureMachine& machine) {
  const std::map<std::string, std::string> cabled = {{"operstate", "up"},
                                                     {"carrier", "1"},
                                                     {"speed", "200000"},
                                                     {"mtu", "9000"},
                                                     {"phys_port_name", "p1"},
                                                     {"address", "aa:bb:cc:00:00:01"},
                                                     {"ifindex", "4"}};
  std::map<std::string, std::string> empty = cabled;
  empty["operstate"] = "down";
  empty["speed"] = "-1";
  empty["phys_port_name"] = "p0";
  empty["address"] = "aa:bb:cc:00:00:02";
  empty.erase("carrier");  // Reading it fails while the interface is down.
  machine.AddInterface("enp1s0f0np0", "0000:01:00.0", empty);
  machine.AddInterface("enp1s0f1np1", "0000:01:00.1", cabled);
  machine.AddInterface("enP2p1s0f1np1", "0002:01:00.1", cabled);
  machine.AddRdmaDevice("0000:01:00.1", "rocep1s0f1");
  machine.AddInterface("lo", "", {{"operstate", "unknown"}, {"carrier", "1"}, {"mtu", "65536"}});
  machine.AddInterface("docker0", "", {{"operstate", "down"}, {"carrier", "0"}});
  machine.AddFile("class/net/bonding_masters");
  machine.addresses = {{"lo", {0x7F000001}, 8},
                       {"enp1s0f1np1", {0xC0A8B101}, 24},
                       {"enp1s0f0np0", {0xC0A8B102}, 24}};
  machine.alternative_names = {{"fabric-a", "enp1s0f1np1"}, {"lo", "lo"}};
}

}  // namespace sparkspan::engine::fabric
