#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

#include "kernels/simt/grid.h"
#include "kernels/simt/launch_limits.h"
#include "kernels/simt/report.h"

// Runs kernels of the dialect without a GPU: one fiber per CUDA thread, blocks one after another,
// every rule of the hardware's memory and barriers enforced rather than hoped for. docs/kernels.md
// tells what it checks. Test equipment: the CPU execution of the model is kernels/cpu.
namespace sparkspan::kernels::emulator {

struct Settings {
  // The order in which lanes (and blocks) run: 0 forward, 1 backward, else the seed of shuffles.
  std::uint64_t lane_order = 0;
  // A barrier, wait or fence, as Report::ordering_sites spells its place, that behaves as if it had
  // been deleted.
  std::string deleted_site = {};
  // The chip whose limits hold: as every kernel ships for all, the one that has least.
  Chip chip = Chip::kSm120;
};

// While one is alive, launches of this thread run under its settings and report to it. They nest.
class Emulation {
 public:
  explicit Emulation(Settings settings = {});
  Emulation(const Emulation&) = delete;
  Emulation& operator=(const Emulation&) = delete;
  ~Emulation();

  const Settings& settings() const { return settings_; }
  Report& report() { return report_; }

  // The innermost of this thread; aborts when there is none, because a launch whose findings
  // nobody reads tests nothing.
  static Emulation& Current();

 private:
  Settings settings_;
  Report report_;
  Emulation* outer_;
};

// Runs `lane` once per thread of the grid; not at all, and reports it, where the chip would refuse.
void RunGrid(const Launch& launch, const std::function<void()>& lane);

// ---- What a running lane may ask; used by host.h only. ----

int ThreadIndex();
Index3 BlockIndex();
const GridShape& Grid();
Report& LaneReport();
void* SharedBase(std::size_t bytes);

void SyncBlock(std::source_location where);
// Meets `threads` threads (whole warps) at hardware barrier `id`, 1 to 15.
void SyncNamed(int id, int threads, std::source_location where);

// All 32 lanes of the warp publish an argument; the last to come runs `combine` over the 32 of
// them, and everybody leaves. Only `orders_memory` makes earlier accesses visible to the others.
using Combine = void (*)(void* const* arguments);
void WarpCollective(const char* kind,
                    bool orders_memory,
                    void* argument,
                    Combine combine,
                    std::source_location where);

enum class Touching { kRead, kWrite, kAtomic };
// Logs an access to shared memory; an address outside it is ignored (global memory is ASan's).
void TouchShared(const void* address,
                 std::size_t bytes,
                 Touching touching,
                 std::source_location where);
// A finding unless `bytes` divides the address.
void CheckAlignment(const void* address, std::size_t bytes, std::source_location where);
void ReportBounds(std::int64_t index, std::int64_t size, std::source_location where);

// Global memory, before the access itself. Only weights may be loaded before DependencyWait: what
// no launch writes.
void LoadGlobal(const void* address, std::size_t bytes, std::source_location where);
void LoadWeight(const void* address, std::size_t bytes, std::source_location where);
void StoreGlobal(const void* address, std::size_t bytes, std::source_location where);
void PrefetchGlobal(std::size_t bytes);
// An atomic without a result, and one with, through which blocks tell each other.
void ReduceGlobal(const void* address, std::size_t bytes, std::source_location where);
void AnnounceGlobal(const void* address, std::source_location where);
void FenceDevice(std::source_location where);

// cp.async: delivered when the lane waits for its group, not before.
void AsyncCopy(void* shared, const void* global, std::size_t bytes, std::source_location where);
void AsyncCommit();
void AsyncWait(int groups_pending_max, std::source_location where);

// mbarrier and cp.async.bulk: delivered when somebody waits for the phase.
void MbarrierInit(void* barrier, int arrivals, std::source_location where);
void MbarrierArrive(void* barrier, std::size_t expected_bytes, std::source_location where);
void MbarrierWait(void* barrier, bool parity, std::source_location where);
void BulkCopy(
    void* shared, const void* global, std::size_t bytes, void* barrier, std::source_location where);

// griddepcontrol.wait and .launch_dependents.
void DependencyWait(std::source_location where);
void DependencyTrigger();

}  // namespace sparkspan::kernels::emulator
