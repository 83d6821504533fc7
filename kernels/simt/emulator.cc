#include "kernels/simt/emulator.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "kernels/simt/block.h"

namespace sparkspan::kernels::emulator {
namespace {

thread_local Emulation* current_emulation = nullptr;
thread_local Block* current_block = nullptr;

}  // namespace

Emulation::Emulation(Settings settings)
    : settings_(std::move(settings)), outer_(current_emulation) {
  current_emulation = this;
}

Emulation::~Emulation() {
  current_emulation = outer_;
}

Emulation& Emulation::Current() {
  if (current_emulation == nullptr) {
    std::fprintf(stderr, "emulator: a kernel was launched outside any Emulation\n");
    std::abort();
  }
  return *current_emulation;
}

void RunGrid(const Launch& launch, const std::function<void()>& lane) {
  static thread_local StackPool stacks;
  Emulation& emulation = Emulation::Current();
  Report& report = emulation.report();
  report.kernel = KernelName(launch);
  if (std::string refusal = FindRefusal(launch, emulation.settings().chip); !refusal.empty()) {
    report.Add(Fault::kLaunch, refusal);
    return;
  }
  const std::uint64_t seed = emulation.settings().lane_order;
  const auto [columns, rows, layers] = launch.grid.blocks;
  std::vector<int> order(static_cast<std::size_t>(columns) * static_cast<std::size_t>(rows) *
                         static_cast<std::size_t>(layers));
  std::iota(order.begin(), order.end(), 0);
  if (seed == 1) {
    std::reverse(order.begin(), order.end());
  } else if (seed > 1) {
    std::mt19937_64 random(seed);
    std::shuffle(order.begin(), order.end(), random);
  }
  GlobalLog global_log;
  for (const int linear : order) {
    const Index3 index{linear % columns, linear / columns % rows, linear / (columns * rows)};
    Block block(launch, index, emulation.settings(), &global_log, &report, &stacks);
    current_block = &block;
    block.Run(lane, seed > 1 ? seed + static_cast<std::uint64_t>(linear) * 1000003 : seed);
    current_block = nullptr;
  }
  ++report.launches;
}

int ThreadIndex() {
  return current_block->current().index;
}
Index3 BlockIndex() {
  return current_block->index();
}
const GridShape& Grid() {
  return current_block->grid();
}
Report& LaneReport() {
  return current_block->report();
}

void* SharedBase(std::size_t bytes) {
  if (bytes > current_block->shared_bytes()) {
    std::fprintf(stderr, "emulator: the kernel's shared struct is larger than the launch's\n");
    std::abort();
  }
  return current_block->shared();
}

void SyncBlock(std::source_location where) {
  current_block->SyncBlock(where);
}

void SyncNamed(int id, int threads, std::source_location where) {
  current_block->SyncNamed(id, threads, where);
}

void WarpCollective(const char* kind,
                    bool orders_memory,
                    void* argument,
                    Combine combine,
                    std::source_location where) {
  current_block->WarpCollective(kind, orders_memory, argument, combine, where);
}

void TouchShared(const void* address,
                 std::size_t bytes,
                 Touching touching,
                 std::source_location where) {
  current_block->Touch(address, bytes, touching, where);
}

void CheckAlignment(const void* address, std::size_t bytes, std::source_location where) {
  if (reinterpret_cast<std::uintptr_t>(address) % bytes != 0) {
    LaneReport().Add(Fault::kAlignment,
                     "lane " + std::to_string(ThreadIndex()) + " moves " + std::to_string(bytes) +
                         " bytes at " + PlaceName(where) + " at an address they do not divide");
  }
}

void ReportBounds(std::int64_t index, std::int64_t size, std::source_location where) {
  LaneReport().Add(Fault::kBounds,
                   "lane " + std::to_string(ThreadIndex()) + " uses index " +
                       std::to_string(index) + " of a shared array of " + std::to_string(size) +
                       " at " + PlaceName(where));
}

void LoadGlobal(const void* address, std::size_t bytes, std::source_location where) {
  current_block->LoadGlobal(address, bytes, where);
}
void LoadWeight(const void* address, std::size_t bytes, std::source_location where) {
  current_block->LoadWeight(address, bytes, where);
}
void StoreGlobal(const void* address, std::size_t bytes, std::source_location where) {
  current_block->StoreGlobal(address, bytes, where);
}
void PrefetchGlobal(std::size_t bytes) {
  current_block->PrefetchGlobal(bytes);
}
void ReduceGlobal(const void* address, std::size_t bytes, std::source_location where) {
  current_block->ReduceGlobal(address, bytes, where);
}
void AnnounceGlobal(const void* address, std::source_location where) {
  current_block->AnnounceGlobal(address, where);
}
void FenceDevice(std::source_location where) {
  current_block->FenceDevice(where);
}

void AsyncCopy(void* shared, const void* global, std::size_t bytes, std::source_location where) {
  CheckAlignment(shared, bytes, where);
  CheckAlignment(global, bytes, where);
  LoadGlobal(global, bytes, where);
  current_block->AsyncCopy(shared, global, bytes, where);
}

void AsyncCommit() {
  Lane& lane = current_block->current();
  lane.groups.push_back(std::exchange(lane.open_group, {}));
}

void AsyncWait(int groups_pending_max, std::source_location where) {
  current_block->AsyncWait(groups_pending_max, where);
}

void MbarrierInit(void* barrier, int arrivals, std::source_location where) {
  current_block->MbarrierInit(barrier, arrivals, where);
}

void MbarrierArrive(void* barrier, std::size_t expected_bytes, std::source_location where) {
  current_block->MbarrierArrive(barrier, expected_bytes, where);
}

void MbarrierWait(void* barrier, bool parity, std::source_location where) {
  current_block->MbarrierWait(barrier, parity, where);
}

void BulkCopy(void* shared,
              const void* global,
              std::size_t bytes,
              void* barrier,
              std::source_location where) {
  CheckAlignment(shared, 16, where);
  CheckAlignment(global, 16, where);
  if (bytes % 16 != 0) {
    LaneReport().Add(Fault::kAlignment,
                     "a bulk copy of " + std::to_string(bytes) + " bytes at " + PlaceName(where) +
                         ": its size must be a multiple of 16");
  }
  LoadGlobal(global, bytes, where);
  current_block->BulkCopy(shared, global, bytes, barrier, where);
}

void DependencyWait(std::source_location where) {
  current_block->DependencyWait(where);
}
void DependencyTrigger() {}

}  // namespace sparkspan::kernels::emulator
