#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <source_location>
#include <unordered_map>

namespace sparkspan::kernels::emulator {

// What the blocks of one launch stored to global memory, and who told whom of it. Knows only what
// went through the dialect.
class GlobalLog {
 public:
  struct Store {
    int block = -1;
    std::source_location where;
  };

  void NoteStore(int block, const void* address, std::size_t bytes, std::source_location where);
  // The last store to one of these bytes if a block other than `reader` made it, else null.
  const Store* FindForeign(int reader, const void* address, std::size_t bytes) const;

  // Adds to the blocks whose stores are known through the atomic at `counter`. Returns those known
  // before.
  std::set<int> Announce(const void* counter, const std::set<int>& blocks);

 private:
  // No vector of the dialect is longer, and vectors are aligned.
  static constexpr std::uintptr_t kGranuleBytes = 16;

  std::unordered_map<std::uintptr_t, std::array<Store, kGranuleBytes>> granules_;
  // Bounds of all stores: most loads are of memory that the launch stores nothing to.
  std::uintptr_t begin_ = UINTPTR_MAX;
  std::uintptr_t end_ = 0;
  std::map<const void*, std::set<int>> announced_;
};

}  // namespace sparkspan::kernels::emulator
