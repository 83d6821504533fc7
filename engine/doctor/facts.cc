#include "engine/doctor/facts.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>

#include "engine/base/hash.h"
#include "engine/base/status.h"
#include "engine/doctor/disk_speed.h"
#include "engine/doctor/kernel_log.h"
#include "engine/doctor/network_profiles.h"
#include "engine/doctor/process_facts.h"
#include "engine/fabric/kernel_files.h"

namespace sparkspan::engine::doctor {
namespace {

namespace fs = std::filesystem;
using fabric::EntryNames;
using fabric::ReadLine;
using fabric::ReadNumber;
using fabric::ReadText;

// "MemTotal:  127512340 kB" lines.
std::map<std::string, std::int64_t> ReadMeminfo(const fs::path& file) {
  std::map<std::string, std::int64_t> fields;
  std::istringstream lines(ReadText(file).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    std::int64_t kib = 0;
    if (words >> name >> kib && name.ends_with(':')) {
      fields[name.substr(0, name.size() - 1)] = kib;
    }
  }
  return fields;
}

// The soft limit of "Max locked memory" in /proc/self/limits.
std::optional<std::int64_t> ReadMemlock(const fs::path& file) {
  constexpr std::string_view kName = "Max locked memory";
  std::istringstream lines(ReadText(file).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(kName)) {
      std::istringstream words(line.substr(kName.size()));
      std::string limit;
      words >> limit;
      if (limit == "unlimited") {
        return kUnlimited;
      }
      std::int64_t bytes = 0;
      const auto [end, fault] = std::from_chars(limit.data(), limit.data() + limit.size(), bytes);
      return fault == std::errc() ? std::optional(bytes) : std::nullopt;
    }
  }
  return std::nullopt;
}

std::map<std::string, int> ReadGovernors(const fs::path& sysfs) {
  std::map<std::string, int> governors;
  const fs::path folder = sysfs / "devices" / "system" / "cpu";
  for (const std::string& name : EntryNames(folder)) {
    const std::string governor = ReadLine(folder / name / "cpufreq" / "scaling_governor");
    if (name.starts_with("cpu") && !governor.empty()) {
      ++governors[governor];
    }
  }
  return governors;
}

std::map<std::string, std::int64_t> ReadPciErrors(
    const fs::path& sysfs, const std::vector<fabric::Interface>& interfaces) {
  constexpr std::string_view kTotal = "TOTAL_ERR_COR ";
  std::map<std::string, std::int64_t> errors;
  for (const fabric::Interface& interface : interfaces) {
    std::istringstream lines(
        ReadText(sysfs / "class" / "net" / interface.name / "device" / "aer_dev_correctable")
            .value_or(""));
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line.starts_with(kTotal) ? line.substr(kTotal.size()) : "");
      std::int64_t count = 0;
      if (words >> count) {
        errors[interface.name] = count;
      }
    }
  }
  return errors;
}

// A fixture's files lie in the fixture.
fs::path PlaceOf(const fs::path& root, const std::string& path) {
  return root == "/" ? fs::path(path) : root / fs::path(path).relative_path();
}

CheckpointFiles ReadCheckpoint(const fs::path& root, const std::string& path) {
  CheckpointFiles files;
  files.path = path;
  const fs::path folder = PlaceOf(root, path);
  std::error_code fault;
  std::set<std::string> present;
  for (const std::string& name : EntryNames(folder)) {
    if (name.ends_with(".safetensors")) {
      present.insert(name);
      const auto bytes = fs::file_size(folder / name, fault);
      files.shard_bytes += fault ? 0 : static_cast<std::int64_t>(bytes);
    }
  }
  const std::optional<std::string> index = ReadText(folder / "model.safetensors.index.json");
  files.has_index = index.has_value();
  if (!files.has_index) {
    return files;
  }
  files.index_hash = Hash64(*index);
  for (std::size_t end = index->find(".safetensors\""); end != std::string::npos;
       end = index->find(".safetensors\"", end + 1)) {
    const std::size_t begin = index->rfind('"', end) + 1;
    const std::string name = index->substr(begin, end - begin) + std::string(".safetensors");
    if (!present.contains(name) &&
        std::find(files.missing_shards.begin(), files.missing_shards.end(), name) ==
            files.missing_shards.end()) {
      files.missing_shards.push_back(name);
    }
  }
  return files;
}

PemFile ReadPem(const fs::path& root, const std::string& path) {
  PemFile file;
  file.path = path;
  const fs::path place = PlaceOf(root, path);
  file.text = ReadText(place);
  file.is_denied = access(place.c_str(), R_OK) != 0 && errno == EACCES;
  struct stat status {};
  if (stat(place.c_str(), &status) == 0) {
    file.mode = status.st_mode & 0777;
  }
  return file;
}

// The names of /proc/swaps, under a line of headings.
std::vector<std::string> ReadSwaps(const fs::path& file) {
  std::vector<std::string> swaps;
  std::istringstream lines(ReadText(file).value_or(""));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    if (!line.empty()) {
      swaps.push_back(line.substr(0, line.find_first_of(" \t")));
    }
  }
  return swaps;
}

void ReadNetwork(const Machine& machine,
                 const config::ClusterConfig& config,
                 const config::NodeConfig& node,
                 NodeFacts* facts) {
  facts->rdma_ports = fabric::ListRdmaPorts(machine.sysfs());
  facts->routes = fabric::ParseRouteTable(ReadText(machine.proc() / "net" / "route").value_or(""));
  for (const config::NodeConfig& peer : config.nodes) {
    if (peer.name != node.name) {
      for (const fabric::DeclaredPin* pin : {&peer.control, &peer.bootstrap}) {
        facts->routes_to_peers.emplace(pin->address, machine.routes->RouteTo(pin->address));
      }
    }
  }
  const fs::path filters = machine.proc() / "sys" / "net" / "ipv4" / "conf";
  for (const std::string& name : EntryNames(filters)) {
    facts->rp_filters[name] = ReadNumber(filters / name / "rp_filter").value_or(0);
  }
  facts->profiles = ReadNetworkProfiles(machine.root);
  facts->name_servers = ReadNameServers(machine.root, facts->interfaces);
  facts->kernel_log = ReadKernelLog(machine.root / "dev" / "kmsg");
  facts->pci_errors = ReadPciErrors(machine.sysfs(), facts->interfaces);
  const std::vector<std::string> verbs = EntryNames(machine.root / "dev" / "infiniband");
  facts->has_rdma_files = std::any_of(verbs.begin(), verbs.end(), [](const std::string& name) {
    return name.starts_with("uverbs");
  });
}

void ReadHost(const Machine& machine, NodeFacts* facts) {
  const fs::path proc = machine.proc();
  std::error_code fault;
  facts->fabric_variables = fabric::FindFabricVariables(machine.environment);
  facts->nccl_confs = fabric::ReadNcclConfs(machine.root, machine.environment);
  facts->memory_kib = ReadMeminfo(proc / "meminfo");
  facts->min_free_kib = ReadNumber(proc / "sys" / "vm" / "min_free_kbytes").value_or(0);
  facts->swaps = ReadSwaps(proc / "swaps");
  facts->memlock_bytes = ReadMemlock(proc / "self" / "limits");
  facts->kernel = ReadLine(proc / "sys" / "kernel" / "osrelease");
  facts->gpu_driver = ReadLine(machine.sysfs() / "module" / "nvidia" / "version");
  facts->processes = ReadProcesses(proc);
  facts->listening = ReadListeningPorts(proc);
  facts->governors = ReadGovernors(machine.sysfs());
  facts->in_container = fs::exists(machine.root / ".dockerenv", fault) ||
                        fs::exists(machine.root / "run" / ".containerenv", fault);
}

}  // namespace

absl::StatusOr<NodeFacts> CollectFabricFacts(const Machine& machine,
                                             const config::ClusterConfig& config,
                                             const config::NodeConfig& node) {
  NodeFacts facts;
  ASSIGN_OR_RETURN(facts.interfaces, fabric::ListInterfaces(machine.sysfs(), *machine.addresses));
  ReadNetwork(machine, config, node, &facts);
  return facts;
}

absl::StatusOr<NodeFacts> CollectFacts(const Machine& machine,
                                       const config::ClusterConfig& config,
                                       const config::NodeConfig& node) {
  ASSIGN_OR_RETURN(NodeFacts facts, CollectFabricFacts(machine, config, node));
  ReadHost(machine, &facts);
  const std::string& path = node.model_path.empty() ? config.model.path : node.model_path;
  facts.checkpoint = ReadCheckpoint(machine.root, path);
  facts.disk = machine.disk.has_value() ? *machine.disk : MeasureDisk(path);
  if (const config::Tls& tls = config.control_tls; !tls.plaintext) {
    facts.tls = TlsFacts{ReadPem(machine.root, tls.authority),
                         ReadPem(machine.root, tls.certificate),
                         ReadPem(machine.root, tls.key),
                         std::chrono::system_clock::now()};
  }
  return facts;
}

const fabric::Interface* FindByName(const NodeFacts& facts, const std::string& name) {
  const auto found = std::find_if(
      facts.interfaces.begin(), facts.interfaces.end(), [&](const fabric::Interface& interface) {
        return interface.name == name;
      });
  return found == facts.interfaces.end() ? nullptr : &*found;
}

}  // namespace sparkspan::engine::doctor
