#include "engine/doctor/examination.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "engine/doctor/machine.h"
#include "tests/unit/engine/doctor/spark_tree.h"

namespace sparkspan::engine::doctor {
namespace {

Report ExamineTree(const SparkTree& tree, const config::ClusterConfig& config) {
  const absl::StatusOr<Machine> machine = MachineIn(tree.root());
  EXPECT_TRUE(machine.ok()) << machine.status();
  const absl::StatusOr<NodeFacts> facts = CollectFacts(*machine, config, config.nodes[0]);
  EXPECT_TRUE(facts.ok()) << facts.status();
  return Examine({config, config.nodes[0], *facts});
}

std::vector<Finding> Of(const Report& report, const std::string& id) {
  std::vector<Finding> found;
  std::copy_if(report.findings().begin(),
               report.findings().end(),
               std::back_inserter(found),
               [&](const Finding& finding) { return finding.id == id; });
  return found;
}

// One thing that is wrong, and the check that must see it.
struct Fault {
  const char* name;
  const char* id;
  Outcome outcome;
  const char* message;  // in what was found, or in what to do next
  std::function<void(SparkTree&, config::ClusterConfig&)> break_it;
};

void PrintTo(const Fault& fault, std::ostream* out) {
  *out << fault.name;
}

using Config = config::ClusterConfig;
constexpr char kNet[] = "sys/class/net/";
const identity::Subject kSpark1{
    "spark1", {identity::Role::kHead, identity::Role::kWorker}, {"192.168.1.10", "192.168.177.1"}};

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
    {"KeptVariables",
     "variables.environment",
     Outcome::kWarning,
     "GLOO_SOCKET_IFNAME=enP7s7 are kept",
     [](SparkTree& tree, Config& config) {
       config.allow_env_overrides = true;
       tree.Write("environ", "PATH=/bin\nGLOO_SOCKET_IFNAME=enP7s7");
     }},
    {"NcclConf",
     "variables.nccl-conf",
     Outcome::kFailure,
     "NCCL_IB_HCA=mlx5_0",
     [](SparkTree& tree, Config&) { tree.Write("etc/nccl.conf", "NCCL_IB_HCA=mlx5_0"); }},
    {"LittleMemory",
     "memory.free",
     Outcome::kFailure,
     "stop what holds the GPU's memory: python3 (pid 77)",
     [](SparkTree& tree, Config&) {
       tree.Write("proc/meminfo", "MemAvailable: 1000000 kB\nCached: 1 kB");
       tree.Write("proc/77/comm", "python3");
       tree.Link("proc/77/fd/5", "/dev/nvidia-uvm");
     }},
    {"KexecHandOver",
     "memory.kexec",
     Outcome::kFailure,
     "kho=off",
     [](SparkTree& tree, Config&) {
       tree.Write("proc/meminfo",
                  "MemAvailable: 118000000 kB\nCmaTotal: 1 kB\nCmaFree: 9999999 kB");
     }},
    {"MinFree",
     "memory.min-free",
     Outcome::kWarning,
     "keeps 6.2 GiB",
     [](SparkTree& tree, Config&) { tree.Write("proc/sys/vm/min_free_kbytes", "6501171"); }},
    {"Killer",
     "memory.killer",
     Outcome::kWarning,
     "earlyoom (pid 88)",
     [](SparkTree& tree, Config&) { tree.Write("proc/88/comm", "earlyoom"); }},
    {"LockedMemory",
     "host.memlock",
     Outcome::kFailure,
     "64 KiB may be locked",
     [](SparkTree& tree, Config&) {
       tree.Write("proc/self/limits", "Max locked memory         65536    65536    bytes");
     }},
    {"BridgedContainer",
     "host.network",
     Outcome::kFailure,
     "--network host",
     [](SparkTree& tree, Config&) {
       tree.Write(".dockerenv", "");
       for (const char* name :
            {"enp1s0f0np0", "enP2p1s0f0np0", "enp1s0f1np1", "enP2p1s0f1np1", "enP7s7", "wlP9s9"}) {
         tree.Remove(kNet + std::string(name));
       }
     }},
    {"SlowGovernor",
     "host.governor",
     Outcome::kWarning,
     "1 CPUs run by powersave",
     [](SparkTree& tree, Config&) {
       tree.Write("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave");
     }},
    {"NoGpuDriver",
     "gpu.driver",
     Outcome::kFailure,
     "no NVIDIA driver",
     [](SparkTree& tree, Config&) { tree.Remove("sys/module/nvidia"); }},
    {"GpuHeld",
     "gpu.sole-user",
     Outcome::kFailure,
     "python3 (pid 77) holds the GPU",
     [](SparkTree& tree, Config&) {
       tree.Write("proc/77/comm", "python3");
       tree.Link("proc/77/fd/5", "/dev/nvidia-uvm");
     }},
    {"PortTaken",
     "ports.free",
     Outcome::kFailure,
     "in use by nginx (pid 99)",
     [](SparkTree& tree, Config&) {
       tree.Write("proc/99/comm", "nginx");
       tree.Link("proc/99/fd/3", "socket:[4711]");
       tree.Write("proc/net/tcp",
                  "   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     "
                  "0        0 4711 1 0 100 0 0 10 0");
     }},
    {"NoModel",
     "model.files",
     Outcome::kFailure,
     "no model.safetensors.index.json",
     [](SparkTree& tree, Config&) { tree.Remove("var/model"); }},
    {"KernelLogOfTheGpu",
     "host.kernel-log",
     Outcome::kWarning,
     "1 of the GPU; last: NVRM: Xid (PCI:000f:01:00): 79",
     [](SparkTree& tree, Config&) {
       tree.Write("dev/kmsg",
                  "3,7,900,-;NVRM: Xid (PCI:000f:01:00): 79, GPU has fallen off the bus");
     }},
    {"KernelLogOfThePcie",
     "host.kernel-log",
     Outcome::kWarning,
     "1 of the NIC, 2 of the PCIe",
     [](SparkTree& tree, Config&) {
       tree.Write("dev/kmsg",
                  "3,7,900,-;pcieport 0000:00:00.0: AER: Correctable error received\n"
                  "3,8,901,-;mlx5_core 0000:01:00.1: PCIe Bus Error: severity=Correctable\n"
                  "3,9,902,-;mlx5_core 0000:01:00.1: poll_health: Fatal error 1 detected");
     }},
    {"FullDisk",
     "disk.space",
     Outcome::kWarning,
     "1.5 GB free",
     [](SparkTree& tree, Config&) { tree.Write("disk", "1500000000 6000000000"); }},
    {"SlowDisk",
     "disk.speed",
     Outcome::kWarning,
     "1.10 GB/s: loading 80.0 GB takes 73 s or more",
     [](SparkTree& tree, Config&) {
       std::filesystem::resize_file(tree.root() / "var/model/model-1.safetensors", 160'000'000'000);
       tree.Write("disk", "500000000000 1100000000");
     }},
    {"UselessDisk",
     "disk.speed",
     Outcome::kFailure,
     "0.10 GB/s: loading 80.0 GB takes 800 s or more",
     [](SparkTree& tree, Config&) {
       std::filesystem::resize_file(tree.root() / "var/model/model-1.safetensors", 160'000'000'000);
       tree.Write("disk", "500000000000 100000000");
     }},
    {"SwapInMemory",
     "memory.zram",
     Outcome::kWarning,
     "/dev/zram0 keeps swapped pages in memory",
     [](SparkTree& tree, Config&) {
       tree.Write("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 8 0 100");
     }},
    {"Desktop",
     "memory.desktop",
     Outcome::kWarning,
     "gnome-shell (pid 55) runs",
     [](SparkTree& tree, Config&) { tree.Write("proc/55/comm", "gnome-shell"); }},
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
    {"ExpiredCertificate",
     "tls.certificate",
     Outcome::kFailure,
     "the certificate expired on",
     [](SparkTree& tree, Config&) { tree.Certify(kSpark1, -1); }},
    {"CertificateThatWillExpire",
     "tls.certificate",
     Outcome::kWarning,
     "expires in 28 days",
     [](SparkTree& tree, Config&) { tree.Certify(kSpark1, 29); }},
    {"NoCertificate",
     "tls.certificate",
     Outcome::kFailure,
     "it cannot be read",
     [](SparkTree& tree, Config&) { tree.Remove("etc/sparkspan/tls/node.crt"); }},
    {"CertificateThatIsNone",
     "tls.certificate",
     Outcome::kFailure,
     "no certificate in PEM",
     [](SparkTree& tree, Config&) { tree.Write("etc/sparkspan/tls/node.crt", "nothing"); }},
    {"ForeignAuthority",
     "tls.authority",
     Outcome::kFailure,
     "was not signed by the authority",
     [](SparkTree& tree, Config&) {
       const SparkTree other;
       std::filesystem::copy_file(other.root() / "etc/sparkspan/tls/authority.crt",
                                  tree.root() / "etc/sparkspan/tls/authority.crt",
                                  std::filesystem::copy_options::overwrite_existing);
     }},
    {"KeyOfAnotherNode",
     "tls.key",
     Outcome::kFailure,
     "do not belong together",
     [](SparkTree& tree, Config&) {
       const SparkTree other;
       tree.SetKeyMode(std::filesystem::perms::owner_all);
       std::filesystem::copy_file(other.root() / "etc/sparkspan/tls/node.key",
                                  tree.root() / "etc/sparkspan/tls/node.key",
                                  std::filesystem::copy_options::overwrite_existing);
       tree.SetKeyMode(std::filesystem::perms::owner_read);
     }},
    {"KeyThatOthersMayRead",
     "tls.key",
     Outcome::kFailure,
     "mode 440: others than its owner may read it",
     [](SparkTree& tree, Config&) {
       tree.SetKeyMode(std::filesystem::perms::owner_read | std::filesystem::perms::group_read);
     }},
    {"CertificateOfAnotherAddress",
     "tls.names",
     Outcome::kFailure,
     "it is not for 192.168.177.1",
     [](SparkTree& tree, Config&) {
       tree.Certify({kSpark1.node, kSpark1.roles, {"192.168.1.10", "192.168.1.11"}});
     }},
    {"CertificateOfAnotherRole",
     "tls.names",
     Outcome::kFailure,
     "it is not for head.spark1.pair",
     [](SparkTree& tree, Config&) {
       tree.Certify({kSpark1.node, {identity::Role::kWorker}, kSpark1.addresses});
     }},
    {"MissingShard",
     "model.files",
     Outcome::kFailure,
     "1 shards are missing, model-2.safetensors first",
     [](SparkTree& tree, Config&) { tree.Remove("var/model/model-2.safetensors"); }},
};

class FaultTest : public testing::TestWithParam<Fault> {};

TEST_P(FaultTest, IsSeenByItsCheckAndInTheExitCode) {
  const Fault& fault = GetParam();
  SparkTree tree;
  Config config = SparkPair();
  fault.break_it(tree, config);
  const Report report = ExamineTree(tree, config);
  std::vector<Finding> fired;
  for (const Finding& finding : Of(report, fault.id)) {
    if (finding.outcome == fault.outcome) {
      fired.push_back(finding);
    }
  }
  ASSERT_FALSE(fired.empty()) << ToText(report, "spark1", /*verbose=*/true);
  EXPECT_THAT(fired[0].found + "\n" + fired[0].next_step, testing::HasSubstr(fault.message));
  EXPECT_FALSE(fired[0].expected.empty());
  EXPECT_FALSE(fired[0].next_step.empty());
  EXPECT_EQ(report.ExitCode(), report.Count(Outcome::kFailure) > 0 ? 4 : 3);
  if (fault.outcome == Outcome::kFailure) {
    EXPECT_EQ(report.ExitCode(), 4);
  }
}

TEST_P(FaultTest, IsNotSeenOnAHealthyMachine) {
  const SparkTree tree;
  const Report report = ExamineTree(tree, SparkPair());
  const std::vector<Finding> findings = Of(report, GetParam().id);
  ASSERT_FALSE(findings.empty()) << "the check does not look";
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.outcome, Outcome::kPass) << finding.found;
  }
}

INSTANTIATE_TEST_SUITE_P(Doctor, FaultTest, testing::ValuesIn(kFaults), [](const auto& tested) {
  return std::string(tested.param.name);
});

TEST(Examination, AHealthyMachineHasExitCode0AndEveryCheckHasAFault) {
  const SparkTree tree;
  const Report report = ExamineTree(tree, SparkPair());
  EXPECT_EQ(report.ExitCode(), 0) << ToText(report, "spark1", /*verbose=*/true);
  std::set<std::string> broken;
  for (const Fault& fault : kFaults) {
    broken.insert(fault.id);
  }
  for (const Finding& finding : report.findings()) {
    if (finding.outcome == Outcome::kPass) {
      EXPECT_TRUE(broken.contains(finding.id)) << "no fault is known for " << finding.id;
    }
  }
}

TEST(Examination, TcpOnCpuSkipsWhatItDoesNotUseAndSaysWhy) {
  const SparkTree tree;
  Config config = SparkPair();
  for (config::NodeConfig& node : config.nodes) {
    node.data = config::DataTransport::kTcp;
    node.rails.clear();
    node.ranks[0].device = {config::DeviceKind::kCpu, 4, 0};
  }
  const Report report = ExamineTree(tree, config);
  EXPECT_EQ(report.ExitCode(), 0) << ToText(report, "spark1", /*verbose=*/true);
  for (const char* id : {"rdma.gid", "rail.halves", "gpu.sole-user", "host.memlock"}) {
    ASSERT_EQ(Of(report, id).size(), 1u) << id;
    EXPECT_EQ(Of(report, id)[0].outcome, Outcome::kSkipped) << id;
    EXPECT_FALSE(Of(report, id)[0].found.empty()) << id;
  }
}

TEST(Examination, WithoutRightsOrCertificatesItSaysSo) {
  SparkTree tree;
  tree.Remove("dev/kmsg");
  tree.Remove("disk");
  Config config = SparkPair();
  config.control_tls = {.plaintext = true, .authority = "", .certificate = "", .key = ""};
  const Report report = ExamineTree(tree, config);
  EXPECT_EQ(report.ExitCode(), 0) << ToText(report, "spark1", /*verbose=*/true);
  for (const char* id : {"host.kernel-log",
                         "disk.space",
                         "disk.speed",
                         "tls.certificate",
                         "tls.authority",
                         "tls.key",
                         "tls.names"}) {
    ASSERT_EQ(Of(report, id).size(), 1u) << id;
    EXPECT_EQ(Of(report, id)[0].outcome, Outcome::kSkipped) << id;
    EXPECT_FALSE(Of(report, id)[0].found.empty()) << id;
  }
}

TEST(Examination, OwnDaemonsOnTheirPortsAreNoFault) {
  SparkTree tree;
  tree.Write("proc/99/comm", "sparkspan-head");
  tree.Link("proc/99/fd/3", "socket:[4711]");
  tree.Write("proc/net/tcp",
             "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0   "
             "     0 4711 1 0 100 0 0 10 0");
  const Report report = ExamineTree(tree, SparkPair());
  EXPECT_EQ(report.ExitCode(), 0);
  EXPECT_EQ(Of(report, "ports.free")[0].outcome, Outcome::kInfo);
}

}  // namespace
}  // namespace sparkspan::engine::doctor
