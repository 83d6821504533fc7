#pragma once

#include <cstdint>
#include <source_location>

#include "kernels/simt/emulator.h"

// The dialect's indices, barriers, shuffles and votes, emulated.
namespace sparkspan::kernels {
inline namespace emulated {
namespace simt {

using Where = std::source_location;

inline int thread_index() {
  return emulator::ThreadIndex();
}
inline int lane_index() {
  return emulator::ThreadIndex() % 32;
}
inline int warp_index() {
  return emulator::ThreadIndex() / 32;
}
inline int block_threads() {
  return emulator::Grid().threads;
}
inline int block_index() {
  return emulator::BlockIndex().x;
}
inline int block_index_y() {
  return emulator::BlockIndex().y;
}
inline int block_index_z() {
  return emulator::BlockIndex().z;
}
inline int grid_blocks() {
  return emulator::Grid().blocks.x;
}

inline void sync_block(Where where = Where::current()) {
  emulator::SyncBlock(where);
}
inline void named_barrier(int id, int threads, Where where = Where::current()) {
  emulator::SyncNamed(id, threads, where);
}
inline void sync_warp(Where where = Where::current()) {
  int unused = 0;
  emulator::WarpCollective("sync_warp", true, &unused, nullptr, where);
}

inline void keep_order() {}

namespace internal {

template <class T>
struct Exchange {
  T value;
  int other;  // the lane to read
  T result;
};

template <class T>
T exchange(const char* kind, T value, int other, Where where) {
  Exchange<T> mine{value, other, T{}};
  emulator::WarpCollective(
      kind,
      false,
      &mine,
      [](void* const* all) {
        for (int lane = 0; lane < 32; ++lane) {
          auto* to = static_cast<Exchange<T>*>(all[lane]);
          // Outside the warp the hardware hands a lane its own value back.
          const int from = to->other < 0 || to->other > 31 ? lane : to->other;
          to->result = static_cast<Exchange<T>*>(all[from])->value;
        }
      },
      where);
  return mine.result;
}

}  // namespace internal

template <class T>
T shuffle_xor(T value, int mask, Where where = Where::current()) {
  return internal::exchange("shuffle_xor", value, lane_index() ^ mask, where);
}
template <class T>
T shuffle_down(T value, int distance, Where where = Where::current()) {
  return internal::exchange("shuffle_down", value, lane_index() + distance, where);
}
template <class T>
T shuffle_up(T value, int distance, Where where = Where::current()) {
  return internal::exchange("shuffle_up", value, lane_index() - distance, where);
}
template <class T>
T shuffle_from(T value, int lane, Where where = Where::current()) {
  return internal::exchange("shuffle_from", value, lane, where);
}

inline std::uint32_t ballot(bool vote, Where where = Where::current()) {
  struct Ballot {
    bool vote;
    std::uint32_t result;
  } mine{vote, 0};
  emulator::WarpCollective(
      "ballot",
      false,
      &mine,
      [](void* const* all) {
        std::uint32_t votes = 0;
        for (unsigned lane = 0; lane < 32; ++lane) {
          votes |= static_cast<std::uint32_t>(static_cast<Ballot*>(all[lane])->vote) << lane;
        }
        for (unsigned lane = 0; lane < 32; ++lane) {
          static_cast<Ballot*>(all[lane])->result = votes;
        }
      },
      where);
  return mine.result;
}
inline bool any(bool vote, Where where = Where::current()) {
  return ballot(vote, where) != 0;
}

inline void dependency_wait(Where where = Where::current()) {
  emulator::DependencyWait(where);
}
inline void dependency_trigger() {
  emulator::DependencyTrigger();
}

}  // namespace simt
}  // namespace emulated
}  // namespace sparkspan::kernels
