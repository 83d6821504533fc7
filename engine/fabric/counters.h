#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace sparkspan::engine::fabric {

// What went over an interface since it was made.
struct InterfaceCounters {
  // Of packets that the kernel's network stack sent and got; RDMA bypasses it.
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t errors = 0;   // Both directions.
  std::uint64_t dropped = 0;  // Both directions.
  // Of the first port of the interface's RDMA devices (port_xmit_data, port_rcv_data times 4).
  std::uint64_t rdma_sent_bytes = 0;
  std::uint64_t rdma_received_bytes = 0;

  bool operator==(const InterfaceCounters&) const = default;

  std::uint64_t total_bytes() const {
    return sent_bytes + received_bytes + rdma_sent_bytes + rdma_received_bytes;
  }
};

// Of one interface. What it does not count is 0.
InterfaceCounters ReadCounters(const std::filesystem::path& sysfs, const std::string& interface);

// Of every interface, by name.
std::map<std::string, InterfaceCounters> ReadAllCounters(const std::filesystem::path& sysfs);

// What `after` has more than `before`; an interface that was made anew starts from 0.
InterfaceCounters Difference(const InterfaceCounters& before, const InterfaceCounters& after);

}  // namespace sparkspan::engine::fabric
