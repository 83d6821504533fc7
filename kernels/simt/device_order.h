#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <source_location>
#include <vector>

#include "kernels/simt/access_log.h"
#include "kernels/simt/global_log.h"
#include "kernels/simt/report.h"

namespace sparkspan::kernels::emulator {

// How the lanes of one block order their global memory with other blocks of the launch, by the
// rules of the PTX memory model: a lane that tells others by an atomic fences after all that it
// knows of and before the atomic; one that was told fences after the atomic, and barriers pass on
// to its block what that fence brought.
class DeviceOrder {
 public:
  DeviceOrder(int block, int lanes, GlobalLog* log, Report* report);

  // `clock` is the lane's own, whose entry `lane` is its present moment.
  void Load(int lane,
            const VectorClock& clock,
            const void* address,
            std::size_t bytes,
            std::source_location where) const;
  // What another block stored may be overwritten by a lane only that may load it.
  void Store(int lane,
             const VectorClock& clock,
             const void* address,
             std::size_t bytes,
             std::source_location where);
  // An atomic without a result: it may meet those of other blocks.
  void Reduce(int lane,
              const VectorClock& clock,
              const void* address,
              std::size_t bytes,
              std::source_location where);
  // Begins a new moment of the lane, so that what it stores later counts as not fenced.
  void Fence(int lane, VectorClock& clock);
  // An atomic whose result the lane gets: it may tell other blocks, and be told by them.
  void Announce(int lane,
                const VectorClock& clock,
                const void* counter,
                std::source_location where);

 private:
  struct Moment {
    int lane;
    std::uint32_t at;
    std::source_location where;
  };
  struct LaneState {
    std::optional<Moment> last_store;
    std::optional<VectorClock> fenced;  // what the lane knew at its last fence
    std::set<int> heard;                // blocks that told it, not fenced since
  };
  // Blocks whose stores a lane may read because it was told and then fenced.
  struct Acquisition {
    int lane;
    std::uint32_t at;
    std::set<int> blocks;
  };

  static bool IsOrdered(int before, std::uint32_t at, int lane, const VectorClock& clock);
  void CheckAcquired(int lane,
                     const VectorClock& clock,
                     const void* address,
                     std::size_t bytes,
                     const char* does,
                     std::source_location where) const;
  void CheckRelease(int lane, const VectorClock& clock, std::source_location where);

  int block_;
  std::vector<LaneState> lanes_;
  std::vector<Moment> announcements_;
  std::vector<Acquisition> acquisitions_;
  GlobalLog* log_;
  Report* report_;
};

}  // namespace sparkspan::kernels::emulator
