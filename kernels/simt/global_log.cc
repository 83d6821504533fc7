#include "kernels/simt/global_log.h"

#include <algorithm>

namespace sparkspan::kernels::emulator {

void GlobalLog::NoteStore(int block,
                          const void* address,
                          std::size_t bytes,
                          std::source_location where) {
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  begin_ = std::min(begin_, begin);
  end_ = std::max(end_, begin + bytes);
  for (std::uintptr_t at = begin; at < begin + bytes; ++at) {
    granules_[at / kGranuleBytes][at % kGranuleBytes] = {block, where};
  }
}

const GlobalLog::Store* GlobalLog::FindForeign(int reader,
                                               const void* address,
                                               std::size_t bytes) const {
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  if (begin >= end_ || begin + bytes <= begin_) {
    return nullptr;
  }
  for (std::uintptr_t at = begin; at < begin + bytes; ++at) {
    const auto granule = granules_.find(at / kGranuleBytes);
    if (granule == granules_.end()) {
      at |= kGranuleBytes - 1;
      continue;
    }
    const Store& store = granule->second[at % kGranuleBytes];
    if (store.block >= 0 && store.block != reader) {
      return &store;
    }
  }
  return nullptr;
}

std::set<int> GlobalLog::Announce(const void* counter, const std::set<int>& blocks) {
  std::set<int>& announced = announced_[counter];
  std::set<int> before = announced;
  announced.insert(blocks.begin(), blocks.end());
  return before;
}

}  // namespace sparkspan::kernels::emulator
