#pragma once

#include <boost/context/fiber.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <source_location>
#include <string>
#include <vector>

#include "kernels/simt/access_log.h"
#include "kernels/simt/device_order.h"
#include "kernels/simt/emulator.h"
#include "kernels/simt/global_log.h"
#include "kernels/simt/stack_pool.h"

namespace sparkspan::kernels::emulator {

// A copy that was issued and not delivered; the target is poisoned meanwhile.
struct PendingCopy {
  std::byte* target;
  const std::byte* source;
  std::size_t bytes;
  std::uint64_t source_hash;  // to see a source that changes under the copy
  int lane;
  std::source_location where;
};

struct Lane {
  int index = 0;
  boost::context::fiber fiber;
  boost::context::fiber scheduler;  // where the lane yields to
  std::function<bool()> ready;      // empty while the lane can run
  const char* waits_at = "";
  std::source_location where;
  bool done = false;
  bool waited_for_dependency = false;
  VectorClock clock;
  std::vector<PendingCopy> open_group;
  std::deque<std::vector<PendingCopy>> groups;
};

// A meeting of lanes: the block's barrier, a named one, or the warp's.
struct Gate {
  std::vector<int> arrived;
  std::vector<void*> arguments = std::vector<void*>(32, nullptr);
  std::uint64_t generation = 0;
  const char* kind = "";
  std::source_location where;
};

struct MbarrierState {
  int arrivals = 0;
  int pending = 0;
  std::int64_t expected_bytes = 0;
  bool parity = false;  // of the phase under way
  VectorClock clock;
  int initialiser = 0;
  std::uint32_t initialised_at = 0;
  std::vector<PendingCopy> copies;
};

// One thread block: its lanes, gates and shared memory, and the rules they must keep.
class Block {
 public:
  Block(const Launch& launch,
        Index3 index,
        const Settings& settings,
        GlobalLog* global_log,
        Report* report,
        StackPool* stacks);
  ~Block();

  void Run(const std::function<void()>& body, std::uint64_t order_seed);

  Lane& current() { return *current_; }
  Index3 index() const { return index_; }
  const GridShape& grid() const { return grid_; }
  Report& report() { return *report_; }
  void* shared() { return shared_; }
  std::size_t shared_bytes() const { return shared_bytes_; }

  void SyncBlock(std::source_location where);
  void SyncNamed(int id, int threads, std::source_location where);
  void WarpCollective(const char* kind,
                      bool orders_memory,
                      void* argument,
                      Combine combine,
                      std::source_location where);
  void Touch(const void* address, std::size_t bytes, Touching touching, std::source_location where);

  void LoadGlobal(const void* address, std::size_t bytes, std::source_location where);
  void LoadWeight(const void* address, std::size_t bytes, std::source_location where);
  void StoreGlobal(const void* address, std::size_t bytes, std::source_location where);
  void PrefetchGlobal(std::size_t bytes);
  void ReduceGlobal(const void* address, std::size_t bytes, std::source_location where);
  void AnnounceGlobal(const void* address, std::source_location where);
  void FenceDevice(std::source_location where);
  void DependencyWait(std::source_location where);

  void AsyncCopy(void* shared, const void* global, std::size_t bytes, std::source_location where);
  void AsyncWait(int groups_pending_max, std::source_location where);
  void MbarrierInit(void* barrier, int arrivals, std::source_location where);
  void MbarrierArrive(void* barrier, std::size_t expected_bytes, std::source_location where);
  void MbarrierWait(void* barrier, bool parity, std::source_location where);
  void BulkCopy(void* shared,
                const void* global,
                std::size_t bytes,
                void* barrier,
                std::source_location where);

 private:
  // Notes a barrier, wait or fence. False when the settings delete it.
  bool Stands(const char* kind, std::source_location where);
  bool IsEarly() const { return grid_.dependent && !current_->waited_for_dependency; }
  void CheckWaited(const char* does, std::source_location where);
  void Wait(const char* kind, std::source_location where, std::function<bool()> ready);
  void Meet(Gate& gate, std::size_t expected, const char* kind, std::source_location where);
  void Open(Gate& gate);
  void ReportStuck();
  void Fail(Fault fault, std::string text);
  std::size_t OffsetOf(const void* address) const;
  AccessLog::Access AccessOf(const PendingCopy& copy, const Lane& lane) const;
  PendingCopy Depart(void* shared,
                     const void* global,
                     std::size_t bytes,
                     std::source_location where);
  void Land(const PendingCopy& copy, const Lane& lane);
  MbarrierState* FindMbarrier(void* barrier, std::source_location where);
  void Settle(MbarrierState& state);
  void Inspect();
  int live() const;

  GridShape grid_;
  std::source_location launched_at_;
  Index3 index_;
  const Settings& settings_;
  Report* report_;
  StackPool* stacks_;
  std::byte* allocation_;
  std::byte* shared_;
  std::size_t shared_bytes_;
  std::size_t shared_alignment_;
  AccessLog log_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  Lane* current_ = nullptr;
  Gate block_gate_;
  std::map<int, Gate> named_gates_;
  std::vector<Gate> warp_gates_;
  DeviceOrder device_order_;
  std::set<std::string> early_places_;  // of touches before dependency_wait
  std::map<void*, MbarrierState> mbarriers_;
  bool failed_ = false;
};

}  // namespace sparkspan::kernels::emulator
