#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <source_location>
#include <string>
#include <vector>

// What the emulator found while it ran kernels. A finding is a mistake in a kernel that hardware
// might let pass; counters are for tests of a kernel's traffic.
namespace sparkspan::kernels::emulator {

enum class Fault {
  kDivergence,    // a barrier or warp operation that not all live lanes reach
  kRace,          // two lanes touch a shared word, one writes, nothing orders them
  kRedZone,       // a write just outside the kernel's shared struct
  kBounds,        // an index outside a shared array
  kAlignment,     // a vector access at an address its width does not divide
  kInFlight,      // a touch of bytes that an asynchronous copy has not delivered yet
  kUnwaitedCopy,  // a lane leaves with copies it never waited for
  kCopySource,    // the source changed between issue and delivery
  kBarrierUse,    // a misused mbarrier: not initialised, too many arrivals
  kDependency,    // a dependent launch that never waits for the grid before it
};

struct Finding {
  Fault fault;
  std::string text;  // names lanes, kinds and source lines
};

struct Report {
  static constexpr int kFindingsMax = 64;

  std::vector<Finding> findings;  // the first kFindingsMax
  std::uint64_t findings_dropped = 0;

  // "file:line" of every barrier or wait that some lane passed, for deleting them one by one.
  std::set<std::string> barrier_sites;

  // Extra wavefronts caused by bank conflicts, by "file:line" of the access.
  std::map<std::string, std::uint64_t> bank_conflicts;

  // Bytes of global memory moved by the vector operations, as the lanes asked for them.
  std::uint64_t streamed_bytes = 0;
  std::uint64_t loaded_bytes = 0;
  std::uint64_t stored_bytes = 0;
  std::uint64_t prefetched_bytes = 0;
  std::uint64_t launches = 0;
  std::uint64_t blocks = 0;

  void Add(Fault fault, std::string text);
  bool Has(Fault fault) const;
  std::string ToString() const;
};

// "rms_norm.cuh:31": the file's own name and the line, the same in every build folder.
std::string PlaceName(const std::source_location& where);

}  // namespace sparkspan::kernels::emulator
