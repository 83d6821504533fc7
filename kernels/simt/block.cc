#include "kernels/simt/block.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <new>
#include <numeric>
#include <random>
#include <string>
#include <utility>

namespace sparkspan::kernels::emulator {
namespace {

constexpr std::size_t kRedZoneBytes = 256;
constexpr std::byte kRedZone{0xA5};
constexpr std::byte kPoison{0xFF};  // NaN as float, bf16 and e4m3
constexpr int kWarpLanes = 32;

std::uint64_t HashOf(const std::byte* data, std::size_t bytes) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (std::size_t i = 0; i < bytes; ++i) {
    hash = (hash ^ static_cast<std::uint64_t>(data[i])) * 1099511628211ULL;
  }
  return hash;
}

void Join(VectorClock& into, const VectorClock& from) {
  for (std::size_t i = 0; i < into.size(); ++i) {
    into[i] = std::max(into[i], from[i]);
  }
}

// "lanes 0-30, 64" from a sorted list.
std::string LaneRanges(const std::vector<int>& lanes) {
  std::string text = lanes.size() == 1 ? "lane " : "lanes ";
  for (std::size_t i = 0; i < lanes.size();) {
    std::size_t j = i;
    while (j + 1 < lanes.size() && lanes[j + 1] == lanes[j] + 1) {
      ++j;
    }
    text += (i == 0 ? "" : ", ") + std::to_string(lanes[i]);
    if (j > i) {
      text += "-" + std::to_string(lanes[j]);
    }
    i = j + 1;
  }
  return text;
}

// Fibers that stopped in the middle of a failed kernel. Destroying one would unwind its stack by an
// exception, which AddressSanitizer cannot follow across stacks; only failed launches leave some.
void Abandon(boost::context::fiber fiber) {
  static auto* const abandoned = new std::vector<boost::context::fiber>;
  abandoned->push_back(std::move(fiber));
}

}  // namespace

Block::Block(const Launch& launch,
             Index3 index,
             const Settings& settings,
             GlobalLog* global_log,
             Report* report,
             StackPool* stacks)
    : grid_(launch.grid),
      launched_at_(launch.where),
      index_(index),
      settings_(settings),
      report_(report),
      stacks_(stacks),
      shared_bytes_(launch.shared.bytes),
      shared_alignment_(std::max<std::size_t>(launch.shared.alignment, 128)),
      log_(launch.shared.bytes, report),
      warp_gates_(static_cast<std::size_t>(grid_.threads / kWarpLanes)),
      device_order_((index.z * grid_.blocks.y + index.y) * grid_.blocks.x + index.x,
                    grid_.threads,
                    global_log,
                    report) {
  const std::size_t total = shared_bytes_ + 2 * kRedZoneBytes;
  allocation_ =
      static_cast<std::byte*>(::operator new (total, std::align_val_t{shared_alignment_}));
  std::fill_n(allocation_, total, kRedZone);
  shared_ = allocation_ + kRedZoneBytes;
  std::fill_n(shared_, shared_bytes_, kPoison);
}

Block::~Block() {
  for (const auto& lane : lanes_) {
    if (!lane->done) {
      Abandon(std::move(lane->fiber));
    }
  }
  ::operator delete (allocation_, std::align_val_t{shared_alignment_});
}

int Block::live() const {
  return static_cast<int>(
      std::count_if(lanes_.begin(), lanes_.end(), [](const auto& lane) { return !lane->done; }));
}

void Block::Run(const std::function<void()>& body, std::uint64_t order_seed) {
  const auto threads = static_cast<std::size_t>(grid_.threads);
  for (std::size_t i = 0; i < threads; ++i) {
    auto lane = std::make_unique<Lane>();
    lane->index = static_cast<int>(i);
    lane->clock.assign(threads, 0);
    lane->clock[i] = 1;
    Lane* self = lane.get();
    lane->fiber = boost::context::fiber(
        std::allocator_arg, StackAllocator{stacks_}, [self, &body](boost::context::fiber&& main) {
          self->scheduler = std::move(main);
          body();
          self->done = true;
          return std::move(self->scheduler);
        });
    lanes_.push_back(std::move(lane));
  }
  std::vector<std::size_t> order(threads);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (order_seed == 1) {
    std::reverse(order.begin(), order.end());
  }
  std::mt19937_64 random(order_seed);
  while (!failed_ && live() > 0) {
    if (order_seed > 1) {
      std::shuffle(order.begin(), order.end(), random);
    }
    bool progress = false;
    for (const std::size_t i : order) {
      Lane& lane = *lanes_[i];
      if (lane.done || failed_ || (lane.ready && !lane.ready())) {
        continue;
      }
      lane.ready = nullptr;
      progress = true;
      current_ = &lane;
      lane.fiber = std::move(lane.fiber).resume();
      // A lane that leaves may be the last that a barrier of the others waits for.
      if (lane.done && !block_gate_.arrived.empty() &&
          static_cast<int>(block_gate_.arrived.size()) == live()) {
        Open(block_gate_);
      }
    }
    if (!progress && !failed_) {
      ReportStuck();
    }
  }
  Inspect();
}

void Block::Inspect() {
  for (std::size_t i = 0; i < kRedZoneBytes; ++i) {
    if (allocation_[i] != kRedZone || shared_[shared_bytes_ + i] != kRedZone) {
      const bool before = allocation_[i] != kRedZone;
      report_->Add(Fault::kRedZone,
                   "red zone: somebody wrote " +
                       std::to_string(before ? kRedZoneBytes - i : i + 1) + " bytes " +
                       (before ? "before" : "past the end of") + " shared memory");
      break;
    }
  }
  for (const auto& lane : lanes_) {
    if (!lane->done) {
      continue;
    }
    if (!lane->open_group.empty() || !lane->groups.empty()) {
      const PendingCopy& copy =
          lane->open_group.empty() ? lane->groups.front().front() : lane->open_group.front();
      report_->Add(Fault::kUnwaitedCopy,
                   "lane " + std::to_string(lane->index) +
                       " left without waiting for its copy of " + PlaceName(copy.where));
      break;
    }
    if (grid_.dependent && !lane->waited_for_dependency) {
      report_->Add(Fault::kDependency,
                   "lane " + std::to_string(lane->index) +
                       " never waited for the launch before, launched at " +
                       PlaceName(launched_at_) +
                       ": say dependency_wait on every way out, or launch without .dependent");
      break;
    }
  }
  for (const auto& [address, state] : mbarriers_) {
    if (!state.copies.empty()) {
      report_->Add(Fault::kUnwaitedCopy,
                   "nobody waited for the bulk copy of " + PlaceName(state.copies.front().where));
    }
  }
  log_.CountBankConflicts();
  ++report_->blocks;
}

void Block::Fail(Fault fault, std::string text) {
  report_->Add(fault, std::move(text));
  failed_ = true;
}

void Block::ReportStuck() {
  std::map<std::string, std::vector<int>> places;
  for (const auto& lane : lanes_) {
    const std::string place =
        lane->done ? std::string("left the kernel")
                   : std::string("wait at ") + lane->waits_at + " " + PlaceName(lane->where);
    places[place].push_back(lane->index);
  }
  std::string text = "divergence:";
  for (const auto& [place, lanes] : places) {
    text += " " + LaneRanges(lanes) + " " + place + ";";
  }
  Fail(Fault::kDivergence, text);
}

bool Block::Stands(const char* kind, std::source_location where) {
  const std::string place = PlaceName(where);
  report_->ordering_sites.emplace(place, kind);
  return place != settings_.deleted_site;
}

void Block::Wait(const char* kind, std::source_location where, std::function<bool()> ready) {
  Lane& lane = *current_;
  lane.waits_at = kind;
  lane.where = where;
  lane.ready = std::move(ready);
  lane.scheduler = std::move(lane.scheduler).resume();
}

void Block::Open(Gate& gate) {
  VectorClock joined(lanes_.size(), 0);
  for (const int lane : gate.arrived) {
    Join(joined, lanes_[static_cast<std::size_t>(lane)]->clock);
  }
  for (const int lane : gate.arrived) {
    VectorClock& clock = lanes_[static_cast<std::size_t>(lane)]->clock;
    clock = joined;
    ++clock[static_cast<std::size_t>(lane)];
  }
  gate.arrived.clear();
  ++gate.generation;
}

void Block::Meet(Gate& gate, std::size_t expected, const char* kind, std::source_location where) {
  Lane& lane = *current_;
  if (!gate.arrived.empty() &&
      (gate.where.line() != where.line() || gate.where.column() != where.column())) {
    Fail(Fault::kDivergence,
         "divergence: " + LaneRanges(gate.arrived) + " wait at " + gate.kind + " " +
             PlaceName(gate.where) + ", lane " + std::to_string(lane.index) + " comes to " + kind +
             " " + PlaceName(where));
    Wait(kind, where, [] { return false; });
  }
  gate.kind = kind;
  gate.where = where;
  gate.arrived.push_back(lane.index);
  if (gate.arrived.size() == expected) {
    Open(gate);
    return;
  }
  Wait(kind, where, [&gate, before = gate.generation] { return gate.generation != before; });
}

void Block::SyncBlock(std::source_location where) {
  if (Stands("sync_block", where)) {
    Meet(block_gate_, static_cast<std::size_t>(live()), "sync_block", where);
  }
}

void Block::SyncNamed(int id, int threads, std::source_location where) {
  if (Stands("named_barrier", where)) {
    Meet(named_gates_[id], static_cast<std::size_t>(threads), "named_barrier", where);
  }
}

void Block::WarpCollective(const char* kind,
                           bool orders_memory,
                           void* argument,
                           Combine combine,
                           std::source_location where) {
  if (orders_memory && !Stands(kind, where)) {
    return;
  }
  const auto lane = static_cast<std::size_t>(current_->index);
  Gate& gate = warp_gates_[lane / kWarpLanes];
  gate.arguments[lane % kWarpLanes] = argument;
  if (orders_memory) {
    Meet(gate, kWarpLanes, kind, where);
    return;
  }
  if (gate.arrived.size() + 1 < kWarpLanes) {
    Meet(gate, kWarpLanes, kind, where);
    return;
  }
  // The last to come does everybody's work. A shuffle or mma is no memory barrier, so the lanes'
  // clocks stay as they are.
  if (gate.where.line() != where.line() || gate.where.column() != where.column()) {
    Meet(gate, kWarpLanes, kind, where);
    return;
  }
  combine(gate.arguments.data());
  gate.arrived.clear();
  ++gate.generation;
}

std::size_t Block::OffsetOf(const void* address) const {
  return static_cast<std::size_t>(static_cast<const std::byte*>(address) - shared_);
}

void Block::Touch(const void* address,
                  std::size_t bytes,
                  Touching touching,
                  std::source_location where) {
  const auto* at = static_cast<const std::byte*>(address);
  if (at < shared_ || at + bytes > shared_ + shared_bytes_) {
    return;
  }
  const AccessLog::Kind kind = touching == Touching::kRead    ? AccessLog::Kind::kRead
                               : touching == Touching::kWrite ? AccessLog::Kind::kWrite
                                                              : AccessLog::Kind::kAtomic;
  log_.Record({OffsetOf(address), bytes, kind, current_->index, &current_->clock, where});
}

AccessLog::Access Block::AccessOf(const PendingCopy& copy, const Lane& lane) const {
  return {OffsetOf(copy.target),
          copy.bytes,
          AccessLog::Kind::kWrite,
          lane.index,
          &lane.clock,
          copy.where};
}

PendingCopy Block::Depart(void* shared,
                          const void* global,
                          std::size_t bytes,
                          std::source_location where) {
  PendingCopy copy{static_cast<std::byte*>(shared),
                   static_cast<const std::byte*>(global),
                   bytes,
                   0,
                   current_->index,
                   where};
  copy.source_hash = HashOf(copy.source, bytes);
  log_.Depart(AccessOf(copy, *current_));
  std::fill_n(copy.target, bytes, kPoison);
  return copy;
}

void Block::Land(const PendingCopy& copy, const Lane& lane) {
  if (HashOf(copy.source, copy.bytes) != copy.source_hash) {
    report_->Add(Fault::kCopySource,
                 "the source of the copy of " + PlaceName(copy.where) +
                     " changed before the copy was waited for");
  }
  std::memcpy(copy.target, copy.source, copy.bytes);
  log_.Land(AccessOf(copy, lane));
}

// Until a dependent launch has waited, an earlier one may still read or write any memory but
// weights.
void Block::CheckWaited(const char* does, std::source_location where) {
  // Once a place: what one lane does, all do.
  if (IsEarly() && early_places_.insert(PlaceName(where)).second) {
    report_->Add(Fault::kDependency,
                 "lane " + std::to_string(current_->index) + " " + does + " at " +
                     PlaceName(where) +
                     " before it waited for the launch before, which may still use that memory: "
                     "dependency_wait first (load_weight and load_weight_scale alone may come "
                     "before it, for what no launch writes)");
  }
}

void Block::LoadGlobal(const void* address, std::size_t bytes, std::source_location where) {
  CheckWaited("loads", where);
  device_order_.Load(current_->index, current_->clock, address, bytes, where);
}

void Block::LoadWeight(const void* address, std::size_t bytes, std::source_location where) {
  report_->loaded_before_wait_bytes += IsEarly() ? bytes : 0;
  device_order_.Load(current_->index, current_->clock, address, bytes, where);
}

void Block::StoreGlobal(const void* address, std::size_t bytes, std::source_location where) {
  CheckWaited("stores", where);
  device_order_.Store(current_->index, current_->clock, address, bytes, where);
}

void Block::PrefetchGlobal(std::size_t bytes) {
  report_->prefetched_bytes += bytes;
  report_->prefetched_before_wait_bytes += IsEarly() ? bytes : 0;
}

void Block::ReduceGlobal(const void* address, std::size_t bytes, std::source_location where) {
  CheckWaited("updates", where);
  device_order_.Reduce(current_->index, current_->clock, address, bytes, where);
}

void Block::AnnounceGlobal(const void* address, std::source_location where) {
  CheckWaited("updates", where);
  device_order_.Announce(current_->index, current_->clock, address, where);
}

void Block::FenceDevice(std::source_location where) {
  if (Stands("fence_device", where)) {
    device_order_.Fence(current_->index, current_->clock);
  }
}

void Block::DependencyWait(std::source_location where) {
  if (Stands("dependency_wait", where)) {
    current_->waited_for_dependency = true;
  }
}

void Block::AsyncCopy(void* shared,
                      const void* global,
                      std::size_t bytes,
                      std::source_location where) {
  current_->open_group.push_back(Depart(shared, global, bytes, where));
}

void Block::AsyncWait(int groups_pending_max, std::source_location where) {
  if (!Stands("async_wait", where)) {
    return;
  }
  Lane& lane = *current_;
  while (lane.groups.size() > static_cast<std::size_t>(groups_pending_max)) {
    for (const PendingCopy& copy : lane.groups.front()) {
      Land(copy, lane);
    }
    lane.groups.pop_front();
  }
}

MbarrierState* Block::FindMbarrier(void* barrier, std::source_location where) {
  const auto found = mbarriers_.find(barrier);
  const auto lane = static_cast<std::size_t>(current_->index);
  if (found == mbarriers_.end() ||
      (found->second.initialiser != current_->index &&
       current_->clock[static_cast<std::size_t>(found->second.initialiser)] <
           found->second.initialised_at)) {
    Fail(Fault::kBarrierUse,
         "lane " + std::to_string(lane) + " uses an mbarrier at " + PlaceName(where) +
             " before its initialisation is visible to it");
    Wait("mbarrier", where, [] { return false; });
  }
  return &found->second;
}

void Block::MbarrierInit(void* barrier, int arrivals, std::source_location) {
  MbarrierState state;
  state.arrivals = arrivals;
  state.pending = arrivals;
  state.clock.assign(lanes_.size(), 0);
  state.initialiser = current_->index;
  state.initialised_at = current_->clock[static_cast<std::size_t>(current_->index)];
  mbarriers_[barrier] = std::move(state);
}

// Completes the phase when nothing is missing; copies are delivered here and no sooner.
void Block::Settle(MbarrierState& state) {
  if (state.pending != 0) {
    return;
  }
  for (auto copy = state.copies.rbegin(); copy != state.copies.rend(); ++copy) {
    state.expected_bytes -= static_cast<std::int64_t>(copy->bytes);
    Land(*copy, *lanes_[static_cast<std::size_t>(copy->lane)]);
    Join(state.clock, lanes_[static_cast<std::size_t>(copy->lane)]->clock);
  }
  state.copies.clear();
  if (state.expected_bytes == 0) {
    state.pending = state.arrivals;
    state.parity = !state.parity;
  }
}

void Block::MbarrierArrive(void* barrier, std::size_t expected_bytes, std::source_location where) {
  if (!Stands("mbarrier_arrive", where)) {
    return;
  }
  MbarrierState* state = FindMbarrier(barrier, where);
  if (state->pending == 0 && state->copies.empty()) {
    Settle(*state);
  }
  if (state->pending == 0) {
    Fail(Fault::kBarrierUse,
         "more arrivals than the mbarrier of " + PlaceName(where) + " was initialised for");
    Wait("mbarrier", where, [] { return false; });
  }
  const auto lane = static_cast<std::size_t>(current_->index);
  Join(state->clock, current_->clock);
  ++current_->clock[lane];
  state->expected_bytes += static_cast<std::int64_t>(expected_bytes);
  --state->pending;
}

void Block::MbarrierWait(void* barrier, bool parity, std::source_location where) {
  if (!Stands("mbarrier_wait", where)) {
    return;
  }
  MbarrierState* state = FindMbarrier(barrier, where);
  const auto completed = [this, state, parity] {
    if (state->parity == parity) {
      Settle(*state);
    }
    return state->parity != parity;
  };
  if (!completed()) {
    Wait("mbarrier wait", where, completed);
  }
  Join(current_->clock, state->clock);
}

void Block::BulkCopy(void* shared,
                     const void* global,
                     std::size_t bytes,
                     void* barrier,
                     std::source_location where) {
  FindMbarrier(barrier, where)->copies.push_back(Depart(shared, global, bytes, where));
}

}  // namespace sparkspan::kernels::emulator
