#pragma once

#include <cstring>

#include "kernels/simt/emulator.h"
#include "kernels/simt/host_lane.h"
#include "kernels/simt/host_shared.h"
#include "kernels/simt/words.h"

// Global memory, asynchronous copies and atomics of the dialect, emulated.
namespace sparkspan::kernels {
inline namespace emulated {
namespace simt {

// `n` words through the read-only path, kept in L1: data that neighbours read too.
template <int n>
Words<n> load_vector(const void* from, Where where = Where::current()) {
  emulator::CheckAlignment(from, sizeof(Words<n>), where);
  emulator::LaneReport().loaded_bytes += sizeof(Words<n>);
  Words<n> words;
  std::memcpy(&words, from, sizeof(words));
  return words;
}
// The same for what is read once: weights and cache entries, which must not displace the rest.
template <int n>
Words<n> load_streaming(const void* from, Where where = Where::current()) {
  emulator::CheckAlignment(from, sizeof(Words<n>), where);
  emulator::LaneReport().streamed_bytes += sizeof(Words<n>);
  Words<n> words;
  std::memcpy(&words, from, sizeof(words));
  return words;
}
template <int n>
void store_vector(void* to, Words<n> words, Where where = Where::current()) {
  emulator::CheckAlignment(to, sizeof(Words<n>), where);
  emulator::LaneReport().stored_bytes += sizeof(Words<n>);
  std::memcpy(to, &words, sizeof(words));
}

inline void prefetch_l2(const void* from, int bytes, Where where = Where::current()) {
  emulator::CheckAlignment(from, 16, where);
  emulator::LaneReport().prefetched_bytes += static_cast<std::uint64_t>(bytes);
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

// Relaxed atomics on global memory, device scope; fence_device orders around them.
template <class T>
T atomic_add(T* to, T value, Where where = Where::current()) {
  emulator::PublishDevice(where);
  const T before = *to;
  *to = before + value;
  return before;
}
template <class T>
T atomic_max(T* to, T value, Where where = Where::current()) {
  emulator::PublishDevice(where);
  const T before = *to;
  *to = before < value ? value : before;
  return before;
}
template <class T>
T atomic_exchange(T* to, T value, Where where = Where::current()) {
  emulator::PublishDevice(where);
  const T before = *to;
  *to = value;
  return before;
}
template <class T>
T atomic_compare_exchange(T* to, T expected, T value, Where where = Where::current()) {
  emulator::PublishDevice(where);
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
