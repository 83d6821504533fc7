#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define SIMT_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define SIMT_HOST_DEVICE inline
#endif

namespace sparkspan::kernels {

// `n` 32-bit registers that travel as one aligned vector access.
template <int n>
struct alignas(4 * n) Words {
  std::uint32_t word[n];
};

}  // namespace sparkspan::kernels
