#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/simt/words.h"

// Shared memory on the GPU: plain arrays under the names that the emulator instruments.
namespace sparkspan::kernels {
inline namespace cuda {
namespace simt {

template <class T>
using SharedPointer = T*;

template <class T, int n>
class SharedArray {
 public:
  static constexpr int kSize = n;
  __device__ __forceinline__ T& operator[](int i) { return data_[i]; }
  __device__ __forceinline__ T* from(int i) { return data_ + i; }

 private:
  alignas(16) T data_[n];
};

template <class T, int rows, int columns, int pitch = columns>
class SharedMatrix {
 public:
  __device__ __forceinline__ T& operator()(int row, int column) {
    return data_[row * pitch + column];
  }
  __device__ __forceinline__ T* from(int row, int column) {
    return data_.from(row * pitch + column);
  }

 private:
  SharedArray<T, rows * pitch> data_;
};

// The block's dynamic shared memory as the kernel's struct; the launch sized it by the same type.
template <class T>
__device__ __forceinline__ T& shared() {
  extern __shared__ __align__(128) unsigned char dynamic_shared[];
  return *reinterpret_cast<T*>(dynamic_shared);
}

template <int n, class T>
__device__ __forceinline__ Words<n> load_shared(T* from) {
  return *reinterpret_cast<const Words<n>*>(from);
}
template <int n, class T>
__device__ __forceinline__ void store_shared(T* to, Words<n> words) {
  *reinterpret_cast<Words<n>*>(to) = words;
}

__device__ __forceinline__ std::uint32_t shared_address(const void* address) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(address));
}

}  // namespace simt
}  // namespace cuda
}  // namespace sparkspan::kernels
