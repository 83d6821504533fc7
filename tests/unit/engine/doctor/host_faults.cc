#include <filesystem>
#include <string>

#include "tests/unit/engine/doctor/known_faults.h"

namespace sparkspan::engine::doctor {
namespace {

using Config = config::ClusterConfig;
constexpr char kNet[] = "sys/class/net/";
const identity::Subject kSpark1{
    "spark1", {identity::Role::kHead, identity::Role::kWorker}, {"192.168.1.10", "192.168.177.1"}};

const Fault kFaults[] = {
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
    {"PortTakenOnAllIpv6Addresses",
     "ports.free",
     Outcome::kFailure,
     "in use by nginx (pid 99)",
     [](SparkTree& tree, Config&) {
       tree.Write("proc/99/comm", "nginx");
       tree.Link("proc/99/fd/3", "socket:[4711]");
       tree.Write(
           "proc/net/tcp6",
           "   0: 00000000000000000000000000000000:1F40 00000000000000000000000000000000:0000 "
           "0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0");
     }},
    {"PortTakenOnAMappedAddress",
     "ports.free",
     Outcome::kFailure,
     "a process that only root can name",
     [](SparkTree& tree, Config&) {
       // ::ffff:192.168.177.1 port 7200
       tree.Write(
           "proc/net/tcp6",
           "   0: 0000000000000000FFFF000001B1A8C0:1C20 00000000000000000000000000000000:0000 "
           "0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0");
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

}  // namespace

std::span<const Fault> HostFaults() {
  return kFaults;
}

}  // namespace sparkspan::engine::doctor
