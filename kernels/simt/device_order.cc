#include "kernels/simt/device_order.h"

#include <string>
#include <utility>

namespace sparkspan::kernels::emulator {

DeviceOrder::DeviceOrder(int block, int lanes, GlobalLog* log, Report* report)
    : block_(block), lanes_(static_cast<std::size_t>(lanes)), log_(log), report_(report) {}

// Whether moment `at` of lane `before` comes before the present moment of `lane`.
bool DeviceOrder::IsOrdered(int before, std::uint32_t at, int lane, const VectorClock& clock) {
  return before == lane || clock[static_cast<std::size_t>(before)] >= at;
}

void DeviceOrder::CheckAcquired(int lane,
                                const VectorClock& clock,
                                const void* address,
                                std::size_t bytes,
                                const char* does,
                                std::source_location where) const {
  const GlobalLog::Store* store = log_->FindForeign(block_, address, bytes);
  if (store == nullptr) {
    return;
  }
  for (const Acquisition& acquired : acquisitions_) {
    if (acquired.blocks.contains(store->block) &&
        IsOrdered(acquired.lane, acquired.at, lane, clock)) {
      return;
    }
  }
  report_->Add(Fault::kRace,
               "lane " + std::to_string(lane) + " of block " + std::to_string(block_) + " " + does +
                   " at " + PlaceName(where) + " what block " + std::to_string(store->block) +
                   " stored at " + PlaceName(store->where) +
                   " in the same launch, and has not acquired it: learn of it by an atomic, then "
                   "fence_device, then sync_block for the other lanes (arrive_last does)");
}

void DeviceOrder::Load(int lane,
                       const VectorClock& clock,
                       const void* address,
                       std::size_t bytes,
                       std::source_location where) const {
  CheckAcquired(lane, clock, address, bytes, "loads", where);
}

void DeviceOrder::Store(int lane,
                        const VectorClock& clock,
                        const void* address,
                        std::size_t bytes,
                        std::source_location where) {
  CheckAcquired(lane, clock, address, bytes, "overwrites", where);
  Reduce(lane, clock, address, bytes, where);
}

void DeviceOrder::Reduce(int lane,
                         const VectorClock& clock,
                         const void* address,
                         std::size_t bytes,
                         std::source_location where) {
  for (const Moment& told : announcements_) {
    if (!IsOrdered(told.lane, told.at, lane, clock)) {
      report_->Add(Fault::kRace,
                   "lane " + std::to_string(lane) + " stores at " + PlaceName(where) +
                       " while lane " + std::to_string(told.lane) +
                       " already tells other blocks at " + PlaceName(told.where) +
                       ": sync_block after the store, then fence_device and the atomic");
      break;
    }
  }
  LaneState& state = lanes_[static_cast<std::size_t>(lane)];
  state.last_store = {lane, clock[static_cast<std::size_t>(lane)], where};
  log_->NoteStore(block_, address, bytes, where);
}

void DeviceOrder::Fence(int lane, VectorClock& clock) {
  LaneState& state = lanes_[static_cast<std::size_t>(lane)];
  state.fenced = clock;
  std::uint32_t& now = clock[static_cast<std::size_t>(lane)];
  ++now;
  if (!state.heard.empty()) {
    acquisitions_.push_back({lane, now, std::exchange(state.heard, {})});
  }
}

void DeviceOrder::CheckRelease(int lane, const VectorClock& clock, std::source_location where) {
  const std::string teller =
      "lane " + std::to_string(lane) + " tells other blocks at " + PlaceName(where);
  const std::optional<VectorClock>& fenced = lanes_[static_cast<std::size_t>(lane)].fenced;
  for (const LaneState& other : lanes_) {
    if (!other.last_store) {
      continue;
    }
    const Moment& store = *other.last_store;
    const std::string stored =
        "the store of lane " + std::to_string(store.lane) + " at " + PlaceName(store.where);
    if (!IsOrdered(store.lane, store.at, lane, clock)) {
      report_->Add(Fault::kRace,
                   teller + ", but nothing orders " + stored +
                       " before it: sync_block, then fence_device, then the atomic");
      return;
    }
    if (!fenced || (*fenced)[static_cast<std::size_t>(store.lane)] < store.at) {
      report_->Add(Fault::kFence,
                   teller + " with no fence_device since " + stored +
                       ": fence in the lane that tells, between the last barrier and the atomic");
      return;
    }
  }
  // Stores through plain pointers are not seen: whatever a barrier brought must be fenced.
  bool is_fenced = fenced.has_value();
  for (std::size_t other = 0; is_fenced && other < clock.size(); ++other) {
    is_fenced = other == static_cast<std::size_t>(lane) || (*fenced)[other] >= clock[other];
  }
  if (!is_fenced) {
    report_->Add(Fault::kFence,
                 teller +
                     " with no fence_device since the last barrier: what the block stored "
                     "before may be seen after; fence in the lane that tells, between that "
                     "barrier and the atomic, or use reduce_add, which tells nothing");
  }
}

void DeviceOrder::Announce(int lane,
                           const VectorClock& clock,
                           const void* counter,
                           std::source_location where) {
  CheckRelease(lane, clock, where);
  announcements_.push_back({lane, clock[static_cast<std::size_t>(lane)], where});
  std::set<int> known{block_};
  for (const Acquisition& acquired : acquisitions_) {
    if (IsOrdered(acquired.lane, acquired.at, lane, clock)) {
      known.insert(acquired.blocks.begin(), acquired.blocks.end());
    }
  }
  std::set<int> told = log_->Announce(counter, known);
  told.erase(block_);
  lanes_[static_cast<std::size_t>(lane)].heard.merge(told);
}

}  // namespace sparkspan::kernels::emulator
