#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// The dialect's indices, barriers, shuffles and votes on the GPU. Warp operations take all 32
// lanes: a kernel masks values, never lanes.
namespace sparkspan::kernels {
inline namespace cuda {
namespace simt {

constexpr unsigned kAllLanes = 0xFFFFFFFFU;

__device__ __forceinline__ int thread_index() {
  return static_cast<int>(threadIdx.x);
}
__device__ __forceinline__ int lane_index() {
  return static_cast<int>(threadIdx.x % 32);
}
__device__ __forceinline__ int warp_index() {
  return static_cast<int>(threadIdx.x / 32);
}
__device__ __forceinline__ int block_threads() {
  return static_cast<int>(blockDim.x);
}
__device__ __forceinline__ int block_index() {
  return static_cast<int>(blockIdx.x);
}
__device__ __forceinline__ int block_index_y() {
  return static_cast<int>(blockIdx.y);
}
__device__ __forceinline__ int block_index_z() {
  return static_cast<int>(blockIdx.z);
}
__device__ __forceinline__ int grid_blocks() {
  return static_cast<int>(gridDim.x);
}

__device__ __forceinline__ void sync_block() {
  __syncthreads();
}
__device__ __forceinline__ void sync_warp() {
  __syncwarp();
}
// No barrier, only a place across which the compiler moves no load: where registers are scarce.
__device__ __forceinline__ void keep_order() {
  __syncwarp();
}
__device__ __forceinline__ void named_barrier(int id, int threads) {
  asm volatile("barrier.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(kAllLanes, value, mask);
}
template <class T>
__device__ __forceinline__ T shuffle_down(T value, int distance) {
  return __shfl_down_sync(kAllLanes, value, static_cast<unsigned>(distance));
}
template <class T>
__device__ __forceinline__ T shuffle_up(T value, int distance) {
  return __shfl_up_sync(kAllLanes, value, static_cast<unsigned>(distance));
}
template <class T>
__device__ __forceinline__ T shuffle_from(T value, int lane) {
  return __shfl_sync(kAllLanes, value, lane);
}
__device__ __forceinline__ std::uint32_t ballot(bool vote) {
  return __ballot_sync(kAllLanes, vote);
}
__device__ __forceinline__ bool any(bool vote) {
  return __any_sync(kAllLanes, vote) != 0;
}

__device__ __forceinline__ void dependency_wait() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}
__device__ __forceinline__ void dependency_trigger() {
  asm volatile("griddepcontrol.launch_dependents;");
}

}  // namespace simt
}  // namespace cuda
}  // namespace sparkspan::kernels
