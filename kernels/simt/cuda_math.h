#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// The dialect's arithmetic on the GPU. Compiled with -fmad=false: a multiply and an add meet in
// one rounding only where a kernel says fma.
namespace sparkspan::kernels {
inline namespace cuda {
namespace simt {

__device__ __forceinline__ float fma(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
__device__ __forceinline__ float sqrt(float x) {
  return __fsqrt_rn(x);
}
__device__ __forceinline__ float divide(float a, float b) {
  return __fdiv_rn(a, b);
}
__device__ __forceinline__ float reciprocal(float x) {
  return __frcp_rn(x);
}
__device__ __forceinline__ float rsqrt(float x) {
  return __frcp_rn(__fsqrt_rn(x));
}
__device__ __forceinline__ float exp2(float x) {
  return ::exp2f(x);
}
__device__ __forceinline__ float exp(float x) {
  return ::expf(x);
}
__device__ __forceinline__ float log(float x) {
  return ::logf(x);
}
__device__ __forceinline__ float log1p(float x) {
  return ::log1pf(x);
}
__device__ __forceinline__ float absolute(float x) {
  return ::fabsf(x);
}
__device__ __forceinline__ float maximum(float a, float b) {
  return ::fmaxf(a, b);
}
__device__ __forceinline__ float minimum(float a, float b) {
  return ::fminf(a, b);
}
__device__ __forceinline__ std::uint32_t bits_of(float x) {
  return __float_as_uint(x);
}
__device__ __forceinline__ float float_of_bits(std::uint32_t x) {
  return __uint_as_float(x);
}
__device__ __forceinline__ int count_bits(std::uint32_t x) {
  return __popc(x);
}
__device__ __forceinline__ int leading_zeros(std::uint32_t x) {
  return __clz(static_cast<int>(x));
}
__device__ __forceinline__ std::uint32_t multiply_high(std::uint32_t a, std::uint32_t b) {
  return __umulhi(a, b);
}

}  // namespace simt
}  // namespace cuda
}  // namespace sparkspan::kernels
