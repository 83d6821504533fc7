#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "engine/config/parse_cluster_config.h"
#include "engine/identity/authority.h"
#include "engine/identity/role.h"

namespace sparkspan::engine::doctor {

// The files of a healthy DGX Spark, as `sparkspan doctor --root` reads them: node spark1 of a pair
// that is joined by one cable in cage 1, both halves of which are rails. Tests break one thing.
class SparkTree {
 public:
  SparkTree() {
    std::string name = (std::filesystem::temp_directory_path() / "spark-tree-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    AddCage("enp1s0f0np0", "0000:01:00.0", "rocep1s0f0", "p0", false);
    AddCage("enP2p1s0f0np0", "0002:01:00.0", "roceP2p1s0f0", "p0", false);
    AddCage("enp1s0f1np1", "0000:01:00.1", "rocep1s0f1", "p1", true);
    AddCage("enP2p1s0f1np1", "0002:01:00.1", "roceP2p1s0f1", "p1", true);
    AddGid("rocep1s0f1", "enp1s0f1np1", "c0a8:b101");
    AddGid("roceP2p1s0f1", "enP2p1s0f1np1", "c0a8:b201");
    AddNetdev("enP7s7", "0007:01:00.0", "r8127");
    AddNetdev("wlP9s9", "0009:01:00.0", "mt7925e");
    Write("sys/class/net/wlP9s9/wireless/status", "0");
    AddNetdev("lo", "", "");
    Write("addresses",
          "lo 127.0.0.1/8\nenP7s7 192.168.1.10/24\nwlP9s9 192.168.0.20/24\n"
          "enp1s0f1np1 192.168.177.1/24\nenP2p1s0f1np1 192.168.178.1/24");
    Write("proc/net/route",
          Header() + Route("enP7s7", "00000000", "0101A8C0", "00000000") +
              Route("enP7s7", "0001A8C0", "00000000", "00FFFFFF") +
              Route("wlP9s9", "0000A8C0", "00000000", "00FFFFFF") +
              Route("enp1s0f1np1", "00B1A8C0", "00000000", "00FFFFFF") +
              Route("enP2p1s0f1np1", "00B2A8C0", "00000000", "00FFFFFF"));
    AddHost();
    Certify({"spark1",
             {identity::Role::kHead, identity::Role::kWorker},
             {"192.168.1.10", "192.168.177.1"}});
  }
  ~SparkTree() { std::filesystem::remove_all(root_); }
  SparkTree(const SparkTree&) = delete;
  SparkTree& operator=(const SparkTree&) = delete;

  const std::filesystem::path& root() const { return root_; }

  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text << "\n";
  }
  void Remove(const std::string& path) { std::filesystem::remove_all(root_ / path); }
  void Link(const std::string& path, const std::string& target) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::filesystem::create_symlink(target, root_ / path);
  }

  // Gives the node a certificate of a new authority, and its key. Days from now on.
  void Certify(const identity::Subject& subject, int days = 365) {
    const identity::WallTime now = std::chrono::system_clock::now();
    const auto authority = identity::Authority::Create("pair", now, 3650);
    ASSERT_TRUE(authority.ok()) << authority.status();
    const auto issued = authority->Issue(subject, now, days);
    ASSERT_TRUE(issued.ok()) << issued.status();
    Write("etc/sparkspan/tls/authority.crt", authority->pair().certificate);
    Write("etc/sparkspan/tls/node.crt", issued->certificate);
    Write("etc/sparkspan/tls/node.key", issued->key);
    SetKeyMode(std::filesystem::perms::owner_read);
  }
  void SetKeyMode(std::filesystem::perms mode) {
    std::filesystem::permissions(root_ / "etc/sparkspan/tls/node.key", mode);
  }

  static std::string Header() {
    return "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
  }
  // Addresses as /proc/net/route prints them.
  static std::string Route(const std::string& interface,
                           const std::string& destination,
                           const std::string& gateway,
                           const std::string& mask) {
    return interface + "\t" + destination + "\t" + gateway + "\t0001\t0\t0\t0\t" + mask +
           "\t0\t0\t0\n";
  }

 private:
  void AddNetdev(const std::string& name, const std::string& pci, const std::string& driver) {
    const std::string folder = "sys/class/net/" + name + "/";
    Write(folder + "operstate", name == "lo" ? "unknown" : "up");
    Write(folder + "carrier", "1");
    Write(folder + "mtu", "1500");
    if (!pci.empty()) {
      std::filesystem::create_directories(root_ / ("sys/devices/" + pci));
      Link(folder + "device", (root_ / "sys/devices" / pci).string());
      Link("sys/devices/" + pci + "/driver", (root_ / "sys/drivers" / driver).string());
      Link("sys/devices/" + pci + "/subsystem", (root_ / "sys/bus/pci").string());
    }
  }

  void AddCage(const std::string& name,
               const std::string& pci,
               const std::string& rdma,
               const std::string& port,
               bool is_cabled) {
    AddNetdev(name, pci, "mlx5_core");
    const std::string folder = "sys/class/net/" + name + "/";
    Write(folder + "phys_port_name", port);
    Write(folder + "mtu", "9000");
    if (is_cabled) {
      Write(folder + "speed", "200000");
    } else {
      Write(folder + "operstate", "down");
      Remove(folder + "carrier");
    }
    const std::string device = "sys/devices/" + pci + "/";
    Write(device + "current_link_width", "4");
    Write(device + "max_link_width", "4");
    Write(device + "current_link_speed", "32.0 GT/s PCIe");
    Write(device + "max_link_speed", "32.0 GT/s PCIe");
    Write(device + "aer_dev_correctable", "RxErr 0\nTOTAL_ERR_COR 2");
    std::filesystem::create_directories(root_ / (device + "infiniband/" + rdma));
    std::filesystem::create_directories(root_ / (device + "net/" + name));
    Link("sys/class/infiniband/" + rdma + "/device", (root_ / "sys/devices" / pci).string());
    Write("sys/class/infiniband/" + rdma + "/ports/1/state", is_cabled ? "4: ACTIVE" : "1: DOWN");
  }

  // fe80 and IPv4 entries of both types, as a Spark with one address has them: the IPv4 RoCE v2 one
  // is 3.
  void AddGid(const std::string& rdma, const std::string& netdev, const std::string& tail) {
    const std::string port = "sys/class/infiniband/" + rdma + "/ports/1/";
    for (int i = 0; i < 4; ++i) {
      const std::string slot = std::to_string(i);
      Write(port + "gids/" + slot,
            i < 2 ? "fe80:0000:0000:0000:a8bb:ccff:fe00:0001"
                  : "0000:0000:0000:0000:0000:ffff:" + tail);
      Write(port + "gid_attrs/types/" + slot, i % 2 == 0 ? "IB/RoCE v1" : "RoCE v2");
      Write(port + "gid_attrs/ndevs/" + slot, netdev);
    }
  }

  void AddHost() {
    Write("dev/infiniband/uverbs0", "");
    Write("sys/module/nvidia/version", "580.95.05");
    Write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance");
    Write("proc/meminfo",
          "MemTotal:       127512340 kB\nMemAvailable:   118000000 kB\nCached:  4000000 kB\n"
          "CmaTotal:   65536 kB\nCmaFree:   60000 kB");
    Write("proc/sys/vm/min_free_kbytes", "67584");
    Write("proc/sys/kernel/osrelease", "6.17.0-1008-nvidia");
    for (const char* interface : {"all", "enp1s0f1np1", "enP2p1s0f1np1", "enP7s7"}) {
      Write(std::string("proc/sys/net/ipv4/conf/") + interface + "/rp_filter", "2");
    }
    Write("proc/self/limits",
          "Limit                     Soft Limit           Hard Limit           Units\n"
          "Max locked memory         unlimited            unlimited            bytes");
    Write("proc/1/comm", "systemd");
    Write("proc/swaps",
          "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/swap.img  file  16777212  0  -2");
    Write("disk", "500000000000 6000000000");
    Write("dev/kmsg",
          "6,1,100,-;Linux version 6.17.0-1008-nvidia\n SUBSYSTEM=pci\n"
          "4,2,200,-;mlx5_core 0000:01:00.0: mlx5_pcie_event: Detected insufficient power on the "
          "PCIe slot (27W).");
    Write("etc/resolv.conf", "nameserver 127.0.0.53\nnameserver 192.168.1.1");
    Write("sys/class/net/enp1s0f1np1/ifindex", "4");
    Write("run/systemd/resolve/netif/4", "LLMNR=yes\nSERVERS=\nDOMAINS=");
    Write("proc/net/tcp",
          "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
          "timeout inode\n"
          "   0: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0"
          "        0 11111 1 0 100 0 0 10 0");
    // ::1 port 8000, which takes nothing of IPv4.
    Write("proc/net/tcp6",
          "  sl  local_address                         remote_address                        st\n"
          "   0: 00000000000000000000000001000000:1F40 00000000000000000000000000000000:0000 0A "
          "00000000:00000000 00:00000000 00000000     0        0 22222 1 0 100 0 0 10 0");
    Write("etc/netplan/40-fabric.yaml",
          "network:\n  version: 2\n  ethernets:\n    enp1s0f1np1: {dhcp4: false, addresses: "
          "[192.168.177.1/24], mtu: 9000}");
    Write("var/model/model.safetensors.index.json",
          "{\"weight_map\": {\"a\": \"model-1.safetensors\", \"b\": \"model-2.safetensors\"}}");
    Write("var/model/model-1.safetensors", "one");
    Write("var/model/model-2.safetensors", "two");
  }

  std::filesystem::path root_;
};

// The pair that SparkTree is one half of.
inline config::ClusterConfig SparkPair() {
  constexpr char kText[] = R"(
version: 1
cluster: pair
head: spark1
model: {path: /var/model, served_names: [m], encoding_profile: preview, default_thinking: "on"}
numerics: quantised
experts: split
draft: none
api: {address: 127.0.0.1, port: 8000, tls: {plaintext: true}}
control_tls:
  authority: /etc/sparkspan/tls/authority.crt
  certificate: /etc/sparkspan/tls/node.crt
  key: /etc/sparkspan/tls/node.key
nodes:
  - name: spark1
    control: {interface: enP7s7, address: 192.168.1.10}
    bootstrap: {interface: enp1s0f1np1, address: 192.168.177.1}
    data: [enp1s0f1np1, enP2p1s0f1np1]
    ranks: [{rank: 0, device: {cuda: 0}, control_port: 7100, data_port: 7200}]
  - name: spark2
    control: {interface: enP7s7, address: 192.168.1.11}
    bootstrap: {interface: enp1s0f0np0, address: 192.168.177.2}
    data: [enp1s0f0np0, enP2p1s0f0np0]
    ranks: [{rank: 1, device: {cuda: 0}, control_port: 7100, data_port: 7200}]
)";
  absl::StatusOr<config::ClusterConfig> config = config::ParseClusterConfig(kText, "pair.yaml");
  EXPECT_TRUE(config.ok()) << config.status();
  return *std::move(config);
}

}  // namespace sparkspan::engine::doctor
