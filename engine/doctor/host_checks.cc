#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/doctor/examination.h"

namespace sparkspan::engine::doctor {
namespace {

using config::DeviceKind;

constexpr std::int64_t kMinFreeKibMax = 1 << 20;
// As /proc/PID/comm has them, cut to 15 characters.
constexpr std::array<std::string_view, 7> kDesktops = {
    "gnome-shell", "plasmashell", "Xorg", "Xwayland", "xfce4-session", "mutter", "sway"};
constexpr std::array<std::string_view, 1> kRanks = {"sparkspan-worke"};
constexpr std::array<std::string_view, 4> kKillers = {"earlyoom", "nohang", "systemd-oomd", "oomd"};

const Process* FirstNamed(std::span<const std::string_view> names,
                          const std::vector<Process>& processes) {
  const auto found = std::find_if(processes.begin(), processes.end(), [&](const Process& process) {
    return std::find(names.begin(), names.end(), process.name) != names.end();
  });
  return found == processes.end() ? nullptr : &*found;
}

double Gibibytes(std::int64_t bytes) {
  return static_cast<double>(bytes) / static_cast<double>(std::int64_t{1} << 30);
}

std::int64_t MemoryBytes(const NodeFacts& facts, const char* field) {
  const auto found = facts.memory_kib.find(field);
  return found == facts.memory_kib.end() ? 0 : found->second * 1024;
}

// Of the weights alone, and the reserve: the least that the node's ranks can do with.
std::int64_t NeededBytes(const Examination& examination) {
  const auto own = static_cast<std::int64_t>(examination.node.ranks.size());
  return examination.facts.checkpoint.shard_bytes * own / examination.config.ranks() +
         examination.config.EffectiveLimits().memory_reserve_bytes;
}

void CheckFreeMemory(const Examination& examination, Report* report) {
  const NodeFacts& facts = examination.facts;
  if (FirstNamed(kRanks, facts.processes) != nullptr) {
    report->Skip("memory.free", "ranks run here and hold their weights already");
    return;
  }
  const std::int64_t available = MemoryBytes(facts, "MemAvailable");
  const std::int64_t needed = NeededBytes(examination);
  const std::string found = absl::StrFormat("%.1f GiB available, of them %.1f GiB page cache",
                                            Gibibytes(available),
                                            Gibibytes(MemoryBytes(facts, "Cached")));
  if (facts.memory_kib.empty() || examination.node.ranks.empty()) {
    report->Skip("memory.free",
                 facts.memory_kib.empty() ? "the kernel does not say" : "no rank runs here");
  } else if (available < needed) {
    std::string holders;
    for (const Process& process : facts.processes) {
      if (process.holds_gpu) {
        holders += absl::StrFormat(
            "%s%s (pid %d)", holders.empty() ? "" : ", ", process.name, process.pid);
      }
    }
    report->Fail("memory.free",
                 examination.node.name,
                 found,
                 absl::StrFormat("%.1f GiB for weights and reserve", Gibibytes(needed)),
                 holders.empty() ? "stop what else uses memory, or use more ranks"
                                 : "stop what holds the GPU's memory: " + holders);
  } else {
    report->Pass("memory.free", examination.node.name, found);
  }
}

void CheckGpu(const Examination& examination, Report* report) {
  const auto& ranks = examination.node.ranks;
  const bool uses_cuda = std::any_of(ranks.begin(), ranks.end(), [](const auto& rank) {
    return rank.device.kind == DeviceKind::kCuda;
  });
  if (!uses_cuda) {
    report->Skip("gpu.driver", "no rank here computes on a GPU");
    report->Skip("gpu.sole-user", "no rank here computes on a GPU");
    return;
  }
  if (examination.facts.gpu_driver.empty()) {
    report->Fail("gpu.driver",
                 examination.node.name,
                 "no NVIDIA driver is loaded",
                 "one",
                 "install it; in a container start with --gpus all");
  } else {
    report->Pass("gpu.driver", examination.node.name, examination.facts.gpu_driver);
  }
  for (const Process& process : examination.facts.processes) {
    if (process.holds_gpu && !process.name.starts_with("sparkspan")) {
      report->Fail("gpu.sole-user",
                   examination.node.name,
                   absl::StrFormat("%s (pid %d) holds the GPU", process.name, process.pid),
                   "no other process",
                   "stop it; its memory is free once it is gone");
      return;
    }
  }
  report->Pass("gpu.sole-user", examination.node.name, "no other process holds the GPU");
}

struct WantedPort {
  std::string what;
  std::uint16_t port;
  std::optional<fabric::Ipv4Address> address;  // as of ListeningPort
};

// Of two addresses of one port.
bool Overlap(const std::optional<fabric::Ipv4Address>& a,
             const std::optional<fabric::Ipv4Address>& b) {
  return a == b || a == fabric::Ipv4Address{} || b == fabric::Ipv4Address{};
}

std::optional<fabric::Ipv4Address> ApiAddress(const std::string& text) {
  const absl::StatusOr<fabric::Ipv4Address> ipv4 = fabric::ParseIpv4(text);
  if (ipv4.ok()) {
    return *ipv4;
  }
  return text == "::" ? std::optional(fabric::Ipv4Address{}) : std::nullopt;
}

std::vector<WantedPort> WantedPorts(const Examination& examination) {
  const config::NodeConfig& node = examination.node;
  std::vector<WantedPort> wanted;
  if (node.name == examination.config.head) {
    const config::Api& api = examination.config.api;
    wanted.push_back({"api.port", api.port, ApiAddress(api.address)});
  }
  for (const config::RankConfig& rank : node.ranks) {
    const std::string name = absl::StrFormat("rank %d ", rank.rank.value());
    wanted.push_back({name + "control_port", rank.control_port, node.control.address});
    wanted.push_back({name + "data_port", rank.data_port, node.bootstrap.address});
  }
  return wanted;
}

void CheckPorts(const Examination& examination, Report* report) {
  for (const WantedPort& wanted : WantedPorts(examination)) {
    const ListeningPort* taken = nullptr;
    for (const ListeningPort& other : examination.facts.listening) {
      if (other.port == wanted.port && Overlap(other.address, wanted.address)) {
        taken = &other;
      }
    }
    const std::string subject = absl::StrFormat("%s %d", wanted.what, wanted.port);
    if (taken == nullptr) {
      report->Pass("ports.free", subject, "free");
    } else if (taken->process.starts_with("sparkspan")) {
      report->Info("ports.free", subject, "in use by " + taken->process);
    } else {
      report->Fail("ports.free",
                   subject,
                   "in use by " + (taken->process.empty() ? "a process that only root can name"
                                                          : taken->process),
                   "a free port",
                   "stop that process, or choose another port in cluster.yaml");
    }
  }
}

void CheckModel(const Examination& examination, Report* report) {
  const CheckpointFiles& files = examination.facts.checkpoint;
  if (!files.has_index || files.shard_bytes == 0) {
    report->Fail("model.files",
                 files.path,
                 files.has_index ? "no shards" : "no model.safetensors.index.json",
                 "a published checkpoint",
                 "copy the checkpoint there, or correct model.path");
  } else if (!files.missing_shards.empty()) {
    report->Fail("model.files",
                 files.path,
                 absl::StrFormat("%d shards are missing, %s first",
                                 files.missing_shards.size(),
                                 files.missing_shards[0]),
                 "all that the index names",
                 "copy the missing files from a node that has them");
  } else {
    report->Pass(
        "model.files",
        files.path,
        absl::StrFormat(
            "%.1f GiB in shards, index %016x", Gibibytes(files.shard_bytes), files.index_hash));
  }
}

void CheckLockedMemory(const Examination& examination, Report* report) {
  const std::optional<std::int64_t> limit = examination.facts.memlock_bytes;
  if (examination.node.data != config::DataTransport::kRails) {
    report->Skip("host.memlock", "only RDMA needs locked memory");
  } else if (!limit.has_value()) {
    report->Skip("host.memlock", "the kernel does not say (proc/self/limits)");
  } else if (*limit != kUnlimited) {
    report->Fail("host.memlock",
                 examination.node.name,
                 absl::StrFormat("%d KiB may be locked", *limit / 1024),
                 "no limit",
                 "set LimitMEMLOCK=infinity for the service, or --ulimit memlock=-1");
  } else {
    report->Pass("host.memlock", examination.node.name, "no limit");
  }
}

void CheckContainer(const Examination& examination, Report* report) {
  const auto& interfaces = examination.facts.interfaces;
  const bool has_physical =
      std::any_of(interfaces.begin(), interfaces.end(), [](const fabric::Interface& interface) {
        return !interface.is_virtual();
      });
  if (!examination.facts.in_container) {
    report->Pass("host.network", examination.node.name, "no container");
  } else if (!has_physical) {
    report->Fail("host.network",
                 examination.node.name,
                 "a container with a network of its own",
                 "the host's network",
                 "start the container with --network host");
  } else {
    report->Pass("host.network", examination.node.name, "a container on the host's network");
  }
}

void CheckGovernors(const Examination& examination, Report* report) {
  if (examination.facts.governors.empty()) {
    report->Skip("host.governor", "this machine does not scale its CPUs' frequency");
    return;
  }
  const auto powersave = examination.facts.governors.find("powersave");
  if (powersave != examination.facts.governors.end()) {
    report->Warn("host.governor",
                 examination.node.name,
                 absl::StrFormat("%d CPUs run by powersave", powersave->second),
                 "performance or schedutil",
                 "set the governor: cpupower frequency-set -g performance");
  } else {
    report->Pass(
        "host.governor", examination.node.name, examination.facts.governors.begin()->first);
  }
}

// What takes memory without need: zram keeps in memory what it swaps out, and a desktop holds 2 to
// 3 GiB, on a Spark of what its GPU uses too.
void CheckWaste(const Examination& examination, Report* report) {
  const NodeFacts& facts = examination.facts;
  std::string zram;
  std::string swaps;
  for (const std::string& swap : facts.swaps) {
    std::string& names = swap.find("zram") == std::string::npos ? swaps : zram;
    names += (names.empty() ? "" : ", ") + swap;
  }
  if (zram.empty()) {
    report->Pass("memory.zram", examination.node.name, "none");
  } else {
    report->Warn("memory.zram",
                 examination.node.name,
                 zram + " keeps swapped pages in memory",
                 "swap on a disk, or none",
                 "swapoff it, and mask its unit (systemctl mask zramswap)");
  }
  report->Info(
      "memory.swap", examination.node.name, swaps.empty() ? "no swap on a disk" : "swap: " + swaps);
  if (const Process* desktop = FirstNamed(kDesktops, facts.processes); desktop != nullptr) {
    report->Warn("memory.desktop",
                 examination.node.name,
                 absl::StrFormat(
                     "%s (pid %d) runs: a desktop holds 2 to 3 GiB", desktop->name, desktop->pid),
                 "none on a node that serves",
                 "systemctl set-default multi-user.target, and restart");
  } else {
    report->Pass("memory.desktop", examination.node.name, "none runs");
  }
}

}  // namespace

void CheckFabricVariables(const Examination& examination, Report* report) {
  const NodeFacts& facts = examination.facts;
  std::string names;
  for (const auto& [name, value] : facts.fabric_variables) {
    names += (names.empty() ? "" : ", ") + name + "=" + value;
  }
  if (names.empty()) {
    report->Pass("variables.environment", "", "none inherited");
  } else if (examination.config.allow_env_overrides) {
    report->Warn("variables.environment",
                 "",
                 names + " are kept, since allow_env_overrides is true",
                 "none",
                 "unset them, or set allow_env_overrides to false");
  } else {
    report->Info("variables.environment", "", names + ": cleared when a rank starts");
  }
  for (const fabric::NcclConf& conf : facts.nccl_confs) {
    std::string settings;
    for (const auto& [name, value] : conf.variables) {
      settings += (settings.empty() ? "" : ", ") + name + "=" + value;
    }
    if (!settings.empty()) {
      report->Fail("variables.nccl-conf",
                   conf.file,
                   settings + ", which NCCL takes where the environment is silent",
                   "no such file: cluster.yaml decides",
                   "remove the file; an image may have brought it");
      return;
    }
  }
  report->Pass("variables.nccl-conf", "", "no nccl.conf sets anything");
}

void CheckMemory(const Examination& examination, Report* report) {
  const NodeFacts& facts = examination.facts;
  CheckFreeMemory(examination, report);
  CheckWaste(examination, report);
  if (MemoryBytes(facts, "CmaFree") > MemoryBytes(facts, "CmaTotal")) {
    report->Fail("memory.kexec",
                 examination.node.name,
                 absl::StrFormat("CmaFree is more than CmaTotal on kernel %s: memory kept for a "
                                 "kexec hand-over, about 9 GiB",
                                 facts.kernel),
                 "no such reserve",
                 "boot with kho=off");
  } else {
    report->Pass("memory.kexec", examination.node.name, "no reserve for a kexec hand-over");
  }
  if (facts.min_free_kib > kMinFreeKibMax) {
    report->Warn("memory.min-free",
                 examination.node.name,
                 absl::StrFormat("vm.min_free_kbytes keeps %.1f GiB from every process",
                                 Gibibytes(facts.min_free_kib * 1024)),
                 "at most 1 GiB",
                 "lower vm.min_free_kbytes");
  } else {
    report->Pass(
        "memory.min-free", examination.node.name, absl::StrFormat("%d KiB", facts.min_free_kib));
  }
  if (const Process* killer = FirstNamed(kKillers, facts.processes); killer != nullptr) {
    report->Warn("memory.killer",
                 examination.node.name,
                 absl::StrFormat(
                     "%s (pid %d) ends processes when memory is short", killer->name, killer->pid),
                 "none, or one that spares sparkspan",
                 "stop it, or make it ignore sparkspan-worker");
  } else {
    report->Pass("memory.killer", examination.node.name, "none runs");
  }
}

void CheckHost(const Examination& examination, Report* report) {
  CheckLockedMemory(examination, report);
  CheckContainer(examination, report);
  CheckGovernors(examination, report);
  CheckGpu(examination, report);
  CheckPorts(examination, report);
  CheckModel(examination, report);
}

}  // namespace sparkspan::engine::doctor
