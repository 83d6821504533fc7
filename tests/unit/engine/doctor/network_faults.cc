#include <filesystem>
#include <string>

#include "tests/unit/engine/doctor/known_faults.h"

namespace sparkspan::engine::doctor {
namespace {

using Config = config::ClusterConfig;

const Fault kFaults[] = {
    {"AbsentInterface",
     "interface.present",
     Outcome::kFailure,
     "no such interface; present: enP2p1s0f0np0 (down",
     [](SparkTree& tree, Config&) { tree.Remove("sys/class/net/enP7s7"); }},
    {"NoLink",
     "interface.link",
     Outcome::kFailure,
     "no link; with a link: enP2p1s0f1np1",
     [](SparkTree& tree, Config&) { tree.Write("sys/class/net/enp1s0f1np1/operstate", "down"); }},
    // As it is for up to a second after the cable was pulled.
    {"NoCarrier",
     "interface.link",
     Outcome::kFailure,
     "no link; with a link: enP2p1s0f1np1",
     [](SparkTree& tree, Config&) { tree.Write("sys/class/net/enp1s0f1np1/carrier", "0"); }},
    {"HalfSpeed",
     "interface.speed",
     Outcome::kWarning,
     "100000 Mb/s",
     [](SparkTree& tree, Config&) { tree.Write("sys/class/net/enp1s0f1np1/speed", "100000"); }},
    {"UselessSpeed",
     "interface.speed",
     Outcome::kFailure,
     "10000 Mb/s",
     [](SparkTree& tree, Config&) { tree.Write("sys/class/net/enp1s0f1np1/speed", "10000"); }},
    {"SmallMtu",
     "interface.mtu",
     Outcome::kWarning,
     "MTU 1500",
     [](SparkTree& tree, Config&) { tree.Write("sys/class/net/enP2p1s0f1np1/mtu", "1500"); }},
    {"NoAddress",
     "interface.address",
     Outcome::kFailure,
     "no IPv4 address",
     [](SparkTree& tree, Config&) {
       tree.Write("addresses", "enP7s7 192.168.1.10/24\nenP2p1s0f1np1 192.168.178.1/24");
     }},
    {"AddressElsewhere",
     "interface.address",
     Outcome::kFailure,
     "192.168.1.10 is held by wlP9s9",
     [](SparkTree& tree, Config&) {
       tree.Write("addresses",
                  "enP7s7 192.168.1.9/24\nwlP9s9 192.168.1.10/24\n"
                  "enp1s0f1np1 192.168.177.1/24\nenP2p1s0f1np1 192.168.178.1/24");
     }},
    {"KeyfileWithDhcp",
     "interface.profile",
     Outcome::kWarning,
     "/etc/NetworkManager/system-connections/auto.nmconnection asks for an address by DHCP",
     [](SparkTree& tree, Config&) {
       tree.Write("etc/NetworkManager/system-connections/auto.nmconnection",
                  "[connection]\nid=auto\ninterface-name=enp1s0f1np1\n[ipv4]\nmethod=auto");
     }},
    {"NetplanWithDhcp",
     "interface.profile",
     Outcome::kWarning,
     "/etc/netplan/40-fabric.yaml",
     [](SparkTree& tree, Config&) {
       tree.Write("etc/netplan/40-fabric.yaml",
                  "network:\n  ethernets:\n    enp1s0f1np1: {dhcp4: true}");
     }},
    {"NetplanWithAPattern",
     "interface.profile",
     Outcome::kWarning,
     "/etc/netplan/50-all.yaml",
     [](SparkTree& tree, Config&) {
       tree.Write("etc/netplan/50-all.yaml",
                  "network:\n  ethernets:\n    all: {match: {name: \"en*\"}, dhcp4: true}");
     }},
    {"NetplanWithADriver",
     "interface.profile",
     Outcome::kWarning,
     "/etc/netplan/50-all.yaml",
     [](SparkTree& tree, Config&) {
       tree.Write("etc/netplan/50-all.yaml",
                  "network:\n  ethernets:\n    all: {match: {driver: mlx5_core}, dhcp4: true}");
     }},
    {"KeyfileWithAMac",
     "interface.profile",
     Outcome::kWarning,
     "mac.nmconnection",
     [](SparkTree& tree, Config&) {
       tree.Write("sys/class/net/enp1s0f1np1/address", "3c:6d:66:aa:bb:cc");
       tree.Write("etc/NetworkManager/system-connections/mac.nmconnection",
                  "[connection]\ntype=ethernet\n[ethernet]\nmac-address=3C:6D:66:AA:BB:CC\n"
                  "[ipv4]\nmethod=auto");
     }},
    {"KeyfileForAnyInterface",
     "interface.profile",
     Outcome::kWarning,
     "Wired.nmconnection",
     [](SparkTree& tree, Config&) {
       tree.Write("etc/NetworkManager/system-connections/Wired.nmconnection",
                  "[connection]\nid=Wired connection 1\ntype=ethernet\n[ipv4]\nmethod=auto");
     }},
    {"OneSubnetForTwoRails",
     "subnet.distinct",
     Outcome::kFailure,
     "both are in 192.168.177.0/24",
     [](SparkTree& tree, Config&) {
       tree.Write("addresses",
                  "enP7s7 192.168.1.10/24\nenp1s0f1np1 192.168.177.1/24\n"
                  "enP2p1s0f1np1 192.168.177.11/24");
     }},
    {"PeerInAnotherSubnet",
     "subnet.peers",
     Outcome::kFailure,
     "192.168.177.1/24 here, 192.168.178.2 there",
     [](SparkTree&, Config& config) {
       config.nodes[1].bootstrap.address = fabric::Ipv4Address{0xC0A8B202};
     }},
    {"RouteByWifi",
     "route.peer",
     Outcome::kFailure,
     "would leave by wlP9s9",
     [](SparkTree& tree, Config&) {
       tree.Write("proc/net/route",
                  SparkTree::Header() +
                      SparkTree::Route("enP7s7", "0001A8C0", "00000000", "00FFFFFF") +
                      SparkTree::Route("wlP9s9", "00000000", "0100A8C0", "00000000"));
     }},
    {"NoRoute",
     "route.peer",
     Outcome::kFailure,
     "no route to 192.168.177.2",
     [](SparkTree& tree, Config&) {
       tree.Write(
           "proc/net/route",
           SparkTree::Header() + SparkTree::Route("enP7s7", "0001A8C0", "00000000", "00FFFFFF"));
     }},
    {"DefaultRouteOnARail",
     "route.default",
     Outcome::kWarning,
     "leaves by a fabric interface",
     [](SparkTree& tree, Config&) {
       tree.Write("proc/net/route",
                  SparkTree::Header() +
                      SparkTree::Route("enP7s7", "0001A8C0", "00000000", "00FFFFFF") +
                      SparkTree::Route("enp1s0f1np1", "00000000", "0100A8C0", "00000000") +
                      SparkTree::Route("enp1s0f1np1", "00B1A8C0", "00000000", "00FFFFFF"));
     }},
    {"DefaultRouteOnWifi",
     "route.wireless",
     Outcome::kWarning,
     "leaves by Wi-Fi",
     [](SparkTree& tree, Config&) {
       tree.Write("proc/net/route",
                  SparkTree::Header() +
                      SparkTree::Route("enP7s7", "0001A8C0", "00000000", "00FFFFFF") +
                      SparkTree::Route("wlP9s9", "00000000", "0100A8C0", "00000000") +
                      SparkTree::Route("enp1s0f1np1", "00B1A8C0", "00000000", "00FFFFFF"));
     }},
    {"WifiInTheFabricsSubnet",
     "route.wireless",
     Outcome::kWarning,
     "Wi-Fi in the subnet of enp1s0f1np1 (bootstrap, data)",
     [](SparkTree& tree, Config&) {
       tree.Write("addresses",
                  "enP7s7 192.168.1.10/24\nwlP9s9 192.168.177.20/24\n"
                  "enp1s0f1np1 192.168.177.1/24\nenP2p1s0f1np1 192.168.178.1/24");
     }},
    {"StrictReversePath",
     "route.reverse-path",
     Outcome::kWarning,
     "rp_filter 1",
     [](SparkTree& tree, Config&) {
       tree.Write("proc/sys/net/ipv4/conf/all/rp_filter", "1");
       for (const char* interface : {"enp1s0f1np1", "enP2p1s0f1np1", "enP7s7"}) {
         tree.Write(std::string("proc/sys/net/ipv4/conf/") + interface + "/rp_filter", "0");
       }
       tree.Write("addresses",
                  "enP7s7 192.168.1.10/24\nwlP9s9 192.168.1.20/24\n"
                  "enp1s0f1np1 192.168.177.1/24\nenP2p1s0f1np1 192.168.178.1/24");
     }},
    {"UnknownRail",
     "rail.resolved",
     Outcome::kFailure,
     "named exactly 'enp1s0f1'",
     [](SparkTree&, Config& config) { config.nodes[0].rails[0] = "enp1s0f1"; }},
    {"HalfACage",
     "rail.halves",
     Outcome::kWarning,
     "add enP2p1s0f1np1 to `data`",
     [](SparkTree&, Config& config) { config.nodes[0].rails = {"enp1s0f1np1"}; }},
    {"HalfACageWithoutPortNames",
     "rail.halves",
     Outcome::kWarning,
     "add enP2p1s0f1np1 to `data`",
     [](SparkTree& tree, Config& config) {
       for (const char* name : {"enp1s0f0np0", "enP2p1s0f0np0", "enp1s0f1np1", "enP2p1s0f1np1"}) {
         tree.Remove("sys/class/net/" + std::string(name) + "/phys_port_name");
       }
       config.nodes[0].rails = {"enp1s0f1np1"};
     }},
    {"TwoCages",
     "rail.halves",
     Outcome::kFailure,
     "different cages, of which only p1 is cabled",
     [](SparkTree&, Config& config) {
       config.nodes[0].rails = {"enp1s0f1np1", "enP2p1s0f0np0"};
     }},
    {"NarrowPcie",
     "pcie.width",
     Outcome::kWarning,
     "x2",
     [](SparkTree& tree, Config&) {
       tree.Write("sys/devices/0002:01:00.1/current_link_width", "2");
     }},
    {"SlowPcie",
     "pcie.speed",
     Outcome::kWarning,
     "8.0 GT/s PCIe",
     [](SparkTree& tree, Config&) {
       tree.Write("sys/devices/0002:01:00.1/current_link_speed", "8.0 GT/s PCIe");
     }},
    {"PcieErrors",
     "pcie.errors",
     Outcome::kWarning,
     "54321 corrected errors",
     [](SparkTree& tree, Config&) {
       tree.Write("sys/devices/0000:01:00.1/aer_dev_correctable", "TOTAL_ERR_COR 54321");
     }},
    {"NoVerbs",
     "rdma.files",
     Outcome::kFailure,
     "no /dev/infiniband/uverbs*",
     [](SparkTree& tree, Config&) { tree.Remove("dev/infiniband"); }},
    {"NoRdmaDriver",
     "rdma.device",
     Outcome::kFailure,
     "modprobe mlx5_ib",
     [](SparkTree& tree, Config&) {
       tree.Remove("sys/class/infiniband");
       tree.Remove("sys/devices/0000:01:00.1/infiniband");
     }},
    {"InactiveRdmaPort",
     "rdma.port",
     Outcome::kFailure,
     "state 1: DOWN",
     [](SparkTree& tree, Config&) {
       tree.Write("sys/class/infiniband/roceP2p1s0f1/ports/1/state", "1: DOWN");
     }},
    {"EmptyGidTable",
     "rdma.gid",
     Outcome::kFailure,
     "its table holds nothing",
     [](SparkTree& tree, Config&) { tree.Remove("sys/class/infiniband/rocep1s0f1/ports/1/gids"); }},
    {"ForcedGidIndex",
     "rdma.gid-index",
     Outcome::kWarning,
     "indices 3, 4, but NCCL_IB_GID_INDEX=3 is kept",
     [](SparkTree& tree, Config& config) {
       config.allow_env_overrides = true;
       tree.Write("environ", "NCCL_IB_GID_INDEX=3");
       const std::string port = "sys/class/infiniband/roceP2p1s0f1/ports/1/";
       tree.Write(port + "gids/4", "0000:0000:0000:0000:0000:ffff:c0a8:b201");
       tree.Write(port + "gid_attrs/types/4", "RoCE v2");
       tree.Write(port + "gid_attrs/ndevs/4", "enP2p1s0f1np1");
       tree.Write(port + "gid_attrs/types/3", "IB/RoCE v1");
     }},
    {"NameServerOnTheCable",
     "route.name-server",
     Outcome::kWarning,
     "/etc/resolv.conf says that name server 192.168.177.254",
     [](SparkTree& tree, Config&) {
       tree.Write("etc/resolv.conf", "search lan\nnameserver 192.168.177.254");
     }},
    {"NameServerOfTheLink",
     "route.name-server",
     Outcome::kWarning,
     "/run/systemd/resolve/netif/4 says that name server 8.8.8.8",
     [](SparkTree& tree, Config&) {
       tree.Write("run/systemd/resolve/netif/4", "LLMNR=yes\nSERVERS=8.8.8.8 1.1.1.1");
     }},
};

}  // namespace

std::span<const Fault> NetworkFaults() {
  return kFaults;
}

}  // namespace sparkspan::engine::doctor
