#pragma once

#include <cstdint>
#include <map>
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
  kDependency,    // a dependent launch that touches memory before it waits for the grid before it,
                  // or never waits
  kFence,         // an atomic that tells other blocks of stores that no fence made visible
  kLaunch,        // a shape that the chip does not launch
};

struct Finding {
  Fault fault;
  std::string text;  // names the kernel, lanes, source lines and, where there is one, the remedy
};

struct Report {
  static constexpr int kFindingsMax = 64;

  std::vector<Finding> findings;  // the first kFindingsMax
  std::uint64_t findings_dropped = 0;

  // "file:line" of every barrier, wait and fence that some lane passed, and its name in the
  // dialect: for deleting them one by one.
  std::map<std::string, std::string> ordering_sites;

  // Extra wavefronts caused by bank conflicts, by "file:line" of the access.
  std::map<std::string, std::uint64_t> bank_conflicts;

  // Bytes of global memory moved by the vector operations, as the lanes asked for them.
  std::uint64_t streamed_bytes = 0;
  std::uint64_t loaded_bytes = 0;
  std::uint64_t stored_bytes = 0;
  std::uint64_t prefetched_bytes = 0;
  // Of those, what a dependent launch asked for before it waited: weights.
  std::uint64_t loaded_before_wait_bytes = 0;  // streamed or loaded
  std::uint64_t prefetched_before_wait_bytes = 0;
  std::uint64_t launches = 0;
  std::uint64_t blocks = 0;

  // Of the kernel that runs; begins each of its findings.
  std::string kernel;

  void Add(Fault fault, const std::string& text);
  bool Has(Fault fault) const;
  std::string ToString() const;
};

// "rms_norm.cuh:31": the file's own name and the line, the same in every build folder.
std::string PlaceName(const std::source_location& where);

}  // namespace sparkspan::kernels::emulator
