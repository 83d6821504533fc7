#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "kernels/simt/cuda_shared.h"
#include "kernels/simt/words.h"

// Global memory, asynchronous copies and atomics of the dialect on the GPU.
namespace sparkspan::kernels {
inline namespace cuda {
namespace simt {

template <class T>
__device__ __forceinline__ T* global(T* pointer) {
#if __CUDA_ARCH__ != 900  // there ptxas then takes fewer registers for `latents` and spills
  __builtin_assume(__isGlobal(pointer));
#endif
  return pointer;
}
template <int n>
__device__ __forceinline__ Words<n> load_vector(const void* from) {
  static_assert(n == 1 || n == 2 || n == 4);
  Words<n> words;
  if constexpr (n == 4) {
    asm volatile(
        "ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(words.word[0]), "=r"(words.word[1]), "=r"(words.word[2]), "=r"(words.word[3])
        : "l"(from));
  } else if constexpr (n == 2) {
    asm volatile("ld.global.v2.u32 {%0, %1}, [%2];"
                 : "=r"(words.word[0]), "=r"(words.word[1])
                 : "l"(from));
  } else {
    asm volatile("ld.global.u32 %0, [%1];" : "=r"(words.word[0]) : "l"(from));
  }
  return words;
}
// Not .nc: ptxas moves such loads past griddepcontrol.wait, which is where a weight's stream should
// already be under way, and entries and keys may be written while the kernel runs.
template <int n>
__device__ __forceinline__ Words<n> load_streaming(const void* from) {
  static_assert(n == 1 || n == 2 || n == 4);
  Words<n> words;
  if constexpr (n == 4) {
    asm volatile(
        "ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(words.word[0]), "=r"(words.word[1]), "=r"(words.word[2]), "=r"(words.word[3])
        : "l"(from));
  } else if constexpr (n == 2) {
    asm volatile("ld.global.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
                 : "=r"(words.word[0]), "=r"(words.word[1])
                 : "l"(from));
  } else {
    asm volatile("ld.global.L1::no_allocate.u32 %0, [%1];" : "=r"(words.word[0]) : "l"(from));
  }
  return words;
}
template <int n>
__device__ __forceinline__ Words<n> load_weight(const void* from) {
  return load_streaming<n>(from);
}
template <int n>
__device__ __forceinline__ Words<n> load_weight_scale(const void* from) {
  return load_vector<n>(from);
}
template <int n>
__device__ __forceinline__ void store_vector(void* to, Words<n> words) {
  *global(static_cast<Words<n>*>(to)) = words;
}

template <class T>
__device__ __forceinline__ T load(const T* from) {
  return *global(from);
}
template <class T>
__device__ __forceinline__ void store(T* to, std::type_identity_t<T> value) {
  *global(to) = value;
}

__device__ __forceinline__ void prefetch_l2(const void* from, int bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
}

template <class T>
__device__ __forceinline__ void async_copy(T* to, const void* from, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
               "l"(from),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int pending>
__device__ __forceinline__ void async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

class Mbarrier {
 public:
  __device__ __forceinline__ void init(int arrivals) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(&state_)), "r"(arrivals)
                 : "memory");
    asm volatile("fence.proxy.async;" ::: "memory");
  }
  __device__ __forceinline__ void arrive() {
    asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(shared_address(&state_)) : "memory");
  }
  __device__ __forceinline__ void arrive_expect(int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(shared_address(&state_)),
                 "r"(bytes)
                 : "memory");
  }
  __device__ __forceinline__ void wait(int parity) {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
        "@!done bra again;\n"
        "}" ::"r"(shared_address(&state_)),
        "r"(parity)
        : "memory");
  }

 private:
  std::uint64_t state_;
};

template <class T>
__device__ __forceinline__ void bulk_copy(T* to, const void* from, int bytes, Mbarrier& barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(to)),
      "l"(from),
      "r"(bytes),
      "r"(shared_address(&barrier))
      : "memory");
}

template <class T>
__device__ __forceinline__ void reduce_add(T* to, std::type_identity_t<T> value) {
  atomicAdd(to, value);
}
// CUDA knows 64 bits as unsigned long long only.
__device__ __forceinline__ void reduce_add(std::uint64_t* to, std::uint64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(to), value);
}
template <class T>
__device__ __forceinline__ T atomic_add(T* to, T value) {
  return atomicAdd(to, value);
}
template <class T>
__device__ __forceinline__ T atomic_max(T* to, T value) {
  return atomicMax(to, value);
}
template <class T>
__device__ __forceinline__ T atomic_exchange(T* to, T value) {
  return atomicExch(to, value);
}
template <class T>
__device__ __forceinline__ T atomic_compare_exchange(T* to, T expected, T value) {
  return atomicCAS(to, expected, value);
}
__device__ __forceinline__ void fence_device() {
  __threadfence();
}

}  // namespace simt
}  // namespace cuda
}  // namespace sparkspan::kernels
