#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <source_location>
#include <utility>
#include <vector>

#include "kernels/simt/report.h"

namespace sparkspan::kernels::emulator {

// What one lane knows of the others: entry i is the last moment of lane i that is ordered before
// now. Barriers join the clocks of those who meet there.
using VectorClock = std::vector<std::uint32_t>;

// The accesses to one block's shared memory, kept to find races (by happens-before over vector
// clocks), touches of bytes whose asynchronous copy is still under way, and bank conflicts.
class AccessLog {
 public:
  enum class Kind { kRead, kWrite, kAtomic };

  struct Access {
    std::size_t offset;  // bytes from the start of shared memory
    std::size_t bytes;
    Kind kind;
    int lane;
    const VectorClock* clock;
    std::source_location where;
  };

  AccessLog(std::size_t shared_bytes, Report* report);

  void Record(const Access& access);

  // A copy into these bytes was issued: earlier touches must be ordered before it, and until Land
  // any touch is a finding.
  void Depart(const Access& access);
  // The copy delivered: from here on it counts as a write by `access.lane` at its present clock.
  void Land(const Access& access);

  // Adds the conflicts of the whole block to the report.
  void CountBankConflicts();

 private:
  struct Touch {
    std::int16_t lane;
    Kind kind;
    std::uint8_t bytes_mask;  // of the word's four bytes
    std::uint32_t moment;     // clock[lane] when it happened
    std::source_location where;
  };
  struct Word {
    std::vector<Touch> touches;
    std::uint16_t in_flight = 0;
  };
  struct Site {
    const char* file;
    std::uint32_t line;
    std::uint32_t column;
    int warp;
    auto operator<=>(const Site&) const = default;
  };
  // The n-th execution of one access by the lanes of a warp: what the hardware issues at once.
  struct Instruction {
    std::vector<std::pair<int, std::size_t>> lanes;  // lane, byte offset
    std::size_t bytes = 0;
  };
  struct SiteLog {
    std::vector<int> executions = std::vector<int>(32, 0);
    std::vector<Instruction> instructions;
  };

  void Check(const Access& access, Word& word, std::uint8_t mask);
  void NoteForBanks(const Access& access);

  std::vector<Word> words_;
  std::map<Site, SiteLog> sites_;
  Report* report_;
};

}  // namespace sparkspan::kernels::emulator
