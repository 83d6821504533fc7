#include "engine/fabric/counters.h"

#include <vector>

#include "engine/fabric/kernel_files.h"

namespace sparkspan::engine::fabric {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kRdmaCounterUnit = 4;  // bytes

std::uint64_t Count(const fs::path& file) {
  return static_cast<std::uint64_t>(ReadNumber(file).value_or(0));
}

}  // namespace

InterfaceCounters ReadCounters(const fs::path& sysfs, const std::string& interface) {
  const fs::path folder = sysfs / "class" / "net" / interface;
  const fs::path statistics = folder / "statistics";
  InterfaceCounters counters;
  counters.sent_bytes = Count(statistics / "tx_bytes");
  counters.received_bytes = Count(statistics / "rx_bytes");
  counters.errors = Count(statistics / "tx_errors") + Count(statistics / "rx_errors");
  counters.dropped = Count(statistics / "tx_dropped") + Count(statistics / "rx_dropped");
  for (const std::string& device : EntryNames(folder / "device" / "infiniband")) {
    const fs::path port = sysfs / "class" / "infiniband" / device / "ports" / "1" / "counters";
    counters.rdma_sent_bytes += kRdmaCounterUnit * Count(port / "port_xmit_data");
    counters.rdma_received_bytes += kRdmaCounterUnit * Count(port / "port_rcv_data");
  }
  return counters;
}

std::map<std::string, InterfaceCounters> ReadAllCounters(const fs::path& sysfs) {
  std::map<std::string, InterfaceCounters> all;
  for (const std::string& name : EntryNames(sysfs / "class" / "net")) {
    std::error_code fault;
    if (fs::is_directory(sysfs / "class" / "net" / name, fault)) {
      all.emplace(name, ReadCounters(sysfs, name));
    }
  }
  return all;
}

InterfaceCounters Difference(const InterfaceCounters& before, const InterfaceCounters& after) {
  const auto grown = [](std::uint64_t old_value, std::uint64_t new_value) {
    return new_value >= old_value ? new_value - old_value : new_value;
  };
  return {grown(before.sent_bytes, after.sent_bytes),
          grown(before.received_bytes, after.received_bytes),
          grown(before.errors, after.errors),
          grown(before.dropped, after.dropped),
          grown(before.rdma_sent_bytes, after.rdma_sent_bytes),
          grown(before.rdma_received_bytes, after.rdma_received_bytes)};
}

}  // namespace sparkspan::engine::fabric
