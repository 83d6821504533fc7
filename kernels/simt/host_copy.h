#pragma once

#include <cstring>
#include <type_traits>

#include "kernels/simt/emulator.h"
#include "kernels/simt/host_lane.h"
#include "kernels/simt/host_shared.h"
#include "kernels/simt/words.h"

// Global memory, asynchronous copies and atomics of the dialect, emulated.
namespace sparkspan::kernels {
inline namespace emulated {
namespace simt {

// The same pointer, known to point to global memory: where the compiler cannot see that (a choice
// between pointers, a cast), its loads and stores of elements would ask each time which memory it
// is.
template <class T>
T* global(T* pointer) {
  return pointer;
}

namespace internal {

template <int n>
Words<n> copy_words(const void* from, Where where) {
  emulator::CheckAlignment(from, sizeof(Words<n>), where);
  Words<n> words;
  std::memcpy(&words, from, sizeof(words));
  return words;
}

}  // namespace internal

// `n` words, kept in L1: data that neighbours read too.
template <int n>
Words<n> load_vector(const void* from, Where where = Where::current()) {
  emulator::LoadGlobal(from, sizeof(Words<n>), where);
  emulator::LaneReport().loaded_bytes += sizeof(Words<n>);
  return internal::copy_words<n>(from, where);
}
// The same for what is read once: cache entries and keys, which must not displace the rest.
template <int n>
Words<n> load_streaming(const void* from, Where where = Where::current()) {
  emulator::LoadGlobal(from, sizeof(Words<n>), where);
  emulator::LaneReport().streamed_bytes += sizeof(Words<n>);
  return internal::copy_words<n>(from, where);
}
// Weights, which are read once, and their scales: what no launch writes, so that a dependent launch
// may load it before it waits. These two alone may come before dependency_wait.
template <int n>
Words<n> load_weight(const void* from, Where where = Where::current()) {
  emulator::LoadWeight(from, sizeof(Words<n>), where);
  emulator::LaneReport().streamed_bytes += sizeof(Words<n>);
  return internal::copy_words<n>(from, where);
}
template <int n>
Words<n> load_weight_scale(const void* from, Where where = Where::current()) {
  emulator::LoadWeight(from, sizeof(Words<n>), where);
  emulator::LaneReport().loaded_bytes += sizeof(Words<n>);
  return internal::copy_words<n>(from, where);
}
template <int n>
void store_vector(void* to, Words<n> words, Where where = Where::current()) {
  emulator::CheckAlignment(to, sizeof(Words<n>), where);
  emulator::StoreGlobal(to, sizeof(Words<n>), where);
  emulator::LaneReport().stored_bytes += sizeof(Words<n>);
  std::memcpy(to, &words, sizeof(words));
}

// One element: stores, which the emulator orders, and loads of what other blocks of the same launch
// stored. Not counted as traffic.
template <class T>
T load(const T* from, Where where = Where::current()) {
  emulator::LoadGlobal(from, sizeof(T), where);
  return *from;
}
template <class T>
void store(T* to, std::type_identity_t<T> value, Where where = Where::current()) {
  emulator::StoreGlobal(to, sizeof(T), where);
  *to = value;
}

inline void prefetch_l2(const void* from, int bytes, Where where = Where::current()) {
  emulator::CheckAlignment(from, 16, where);
  emulator::PrefetchGlobal(static_cast<std::size_t>(bytes));
}

// Sixteen bytes, delivered by async_wait; zeros when `valid` is false.
template <class T>
void async_copy(SharedPointer<T> to, const void* from, bool valid = true) {
  alignas(16) static constexpr std::byte kZeros[16] = {};
  emulator::AsyncCopy(to.address, valid ? from : kZeros, 16, to.where);
}
inline void async_commit() {
  emulator::AsyncCommit();
}
// Waits until at most `pending` of this lane's committed groups are still under way. The other
// lanes' copies become visible by a barrier after it.
template <int pending>
void async_wait(Where where = Where::current()) {
  emulator::AsyncWait(pending, where);
}

// A transaction barrier in shared memory. One lane initialises it; a sync_block makes that visible.
class Mbarrier {
 public:
  void init(int arrivals, Where where = Where::current()) {
    emulator::MbarrierInit(this, arrivals, where);
  }
  void arrive(Where where = Where::current()) { emulator::MbarrierArrive(this, 0, where); }
  // Arrives, and makes the phase wait for so many bytes of bulk copies as well.
  void arrive_expect(int bytes, Where where = Where::current()) {
    emulator::MbarrierArrive(this, static_cast<std::size_t>(bytes), where);
  }
  // Waits for the end of the phase of this parity; the first phase has parity 0.
  void wait(int parity, Where where = Where::current()) {
    emulator::MbarrierWait(this, parity != 0, where);
  }

 private:
  [[maybe_unused]] std::uint64_t state_;
};

// One lane starts a copy of a multiple of 16 bytes, whose end completes transactions of `barrier`.
template <class T>
void bulk_copy(SharedPointer<T> to, const void* from, int bytes, Mbarrier& barrier) {
  emulator::BulkCopy(to.address, from, static_cast<std::size_t>(bytes), &barrier, to.where);
}

// An atomic on global memory without a result: it collects data for a later launch, and tells other
// blocks nothing.
template <class T>
void reduce_add(T* to, std::type_identity_t<T> value, Where where = Where::current()) {
  emulator::ReduceGlobal(to, sizeof(T), where);
  *to += value;
}
// Relaxed atomics on global memory, device scope. By their results blocks tell each other: of what
// was stored, fenced since the last barrier by the lane that tells; and who was told fences before
// it loads that, or a barrier lets other lanes.
template <class T>
T atomic_add(T* to, T value, Where where = Where::current()) {
  emulator::AnnounceGlobal(to, where);
  const T before = *to;
  *to = before + value;
  return before;
}
template <class T>
T atomic_max(T* to, T value, Where where = Where::current()) {
  emulator::AnnounceGlobal(to, where);
  const T before = *to;
  *to = before < value ? value : before;
  return before;
}
template <class T>
T atomic_exchange(T* to, T value, Where where = Where::current()) {
  emulator::AnnounceGlobal(to, where);
  const T before = *to;
  *to = value;
  return before;
}
template <class T>
T atomic_compare_exchange(T* to, T expected, T value, Where where = Where::current()) {
  emulator::AnnounceGlobal(to, where);
  const T before = *to;
  *to = before == expected ? value : before;
  return before;
}
inline void fence_device(Where where = Where::current()) {
  emulator::FenceDevice(where);
}

}  // namespace simt
}  // namespace emulated
}  // namespace sparkspan::kernels
