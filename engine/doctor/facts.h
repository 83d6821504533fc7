#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/config/cluster_config.h"
#include "engine/doctor/machine.h"
#include "engine/doctor/name_servers.h"
#include "engine/fabric/environment.h"
#include "engine/fabric/interfaces.h"
#include "engine/fabric/rdma.h"
#include "engine/fabric/routes.h"
#include "engine/identity/certificate.h"

// What one machine shows of itself, read once; the checks only compute on it.
namespace sparkspan::engine::doctor {

struct Process {
  int pid = 0;
  std::string name;
  bool holds_gpu = false;  // has /dev/nvidia-uvm open

  bool operator==(const Process&) const = default;
};

inline constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max();

struct ListeningPort {
  std::optional<fabric::Ipv4Address> address;  // 0.0.0.0: every one; empty: an IPv6 one only
  std::uint16_t port = 0;
  std::string process;  // empty where it could not be found

  bool operator==(const ListeningPort&) const = default;
};

// A stored configuration of NetworkManager or netplan: for the interfaces that all of its
// conditions fit.
struct NetworkProfile {
  std::string file;
  std::string interface;  // a name, or a pattern with * ? [; empty: any
  std::string mac;        // empty: any
  std::string driver;     // likewise; a pattern too
  bool uses_dhcp = false;

  // Of one interface and no other. A profile that is not gives way to one that is, in
  // NetworkManager.
  bool is_named() const {
    return !interface.empty() && interface.find_first_of("*?[") == std::string::npos;
  }
};

// Of the folder of a checkpoint. Counts and sizes only: its content is the loader's matter.
struct CheckpointFiles {
  std::string path;
  bool has_index = false;
  std::int64_t shard_bytes = 0;
  std::vector<std::string> missing_shards;  // that the index names
  std::uint64_t index_hash = 0;
};

// A file that control_tls names.
struct PemFile {
  std::string path;
  std::optional<std::string> text;  // empty: it cannot be read
  bool is_denied = false;           // it is there, but not for this user
  unsigned mode = 0;                // permissions
};

struct TlsFacts {
  PemFile authority;
  PemFile certificate;
  PemFile key;
  identity::WallTime now;  // by this machine's clock
};

struct NodeFacts {
  std::vector<fabric::Interface> interfaces;
  std::vector<fabric::RdmaPort> rdma_ports;
  std::vector<fabric::RouteEntry> routes;
  // The route to each other node's control and bootstrap address.
  std::map<fabric::Ipv4Address, absl::StatusOr<fabric::Route>> routes_to_peers;
  std::map<std::string, std::int64_t> rp_filters;  // by interface, "all" among them
  std::vector<NameServer> name_servers;
  std::optional<std::vector<std::string>> kernel_log;  // messages; empty: may not be read

  fabric::Variables fabric_variables;  // of the environment
  std::vector<fabric::NcclConf> nccl_confs;
  std::vector<NetworkProfile> profiles;

  std::map<std::string, std::int64_t> memory_kib;  // /proc/meminfo
  std::int64_t min_free_kib = 0;
  std::optional<std::int64_t> memlock_bytes;  // kUnlimited; empty: the kernel does not say
  std::string kernel;
  std::string gpu_driver;  // empty: none
  std::vector<Process> processes;
  std::vector<ListeningPort> listening;
  std::map<std::string, int> governors;            // number of CPUs by name
  std::map<std::string, std::int64_t> pci_errors;  // corrected AER errors by interface
  bool in_container = false;
  bool has_rdma_files = false;  // /dev/infiniband/uverbs*
  CheckpointFiles checkpoint;
  DiskFacts disk;                  // where the checkpoint lies
  std::vector<std::string> swaps;  // devices and files that the kernel swaps to
  std::optional<TlsFacts> tls;     // empty where control is plaintext
};

// Reads the facts that matter to `node`. Fails only where there are no interfaces to be read.
absl::StatusOr<NodeFacts> CollectFacts(const Machine& machine,
                                       const config::ClusterConfig& config,
                                       const config::NodeConfig& node);

// Those of interfaces, RDMA and routes alone: milliseconds, and what may wait has a deadline.
absl::StatusOr<NodeFacts> CollectFabricFacts(const Machine& machine,
                                             const config::ClusterConfig& config,
                                             const config::NodeConfig& node);

// The interface of this name; null when there is none.
const fabric::Interface* FindByName(const NodeFacts& facts, const std::string& name);

}  // namespace sparkspan::engine::doctor
