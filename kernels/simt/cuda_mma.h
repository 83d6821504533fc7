#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/simt/cuda_lane.h"
#include "kernels/simt/cuda_shared.h"
#include "kernels/simt/fragment.h"

// Tensor-core leaves. Block-scaled products exist on sm_120a and sm_121a; on sm_90a the same
// names widen the operands to f16, which holds every e4m3 and e2m1 value, and scale in registers.
#if defined(__CUDA_ARCH_FEAT_SM120_ALL) || defined(__CUDA_ARCH_FEAT_SM121_ALL)
#define SIMT_HAS_BLOCK_SCALED_MMA 1
#endif

namespace sparkspan::kernels {
inline namespace cuda {
namespace simt {

struct E4m3Operand {};
struct E2m1Operand {};  // one value a byte, in bits 5 to 2

template <class T>
__device__ __forceinline__ Words<4> load_matrix_x4(T* row) {
  Words<4> words;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.word[0]), "=r"(words.word[1]), "=r"(words.word[2]), "=r"(words.word[3])
               : "r"(shared_address(row))
               : "memory");
  return words;
}
template <class T>
__device__ __forceinline__ Words<4> load_matrix_transposed_x4(T* row) {
  Words<4> words;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.word[0]), "=r"(words.word[1]), "=r"(words.word[2]), "=r"(words.word[3])
               : "r"(shared_address(row))
               : "memory");
  return words;
}

__device__ __forceinline__ void mma_bf16_m16n8k16(float (&c)[4],
                                                  const Words<4>& a,
                                                  const Words<2>& b) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.word[0]),
        "r"(a.word[1]),
        "r"(a.word[2]),
        "r"(a.word[3]),
        "r"(b.word[0]),
        "r"(b.word[1]));
}

__device__ __forceinline__ void mma_e4m3_m16n8k32(float (&c)[4],
                                                  const Words<4>& a,
                                                  const Words<2>& b) {
  asm("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.word[0]),
        "r"(a.word[1]),
        "r"(a.word[2]),
        "r"(a.word[3]),
        "r"(b.word[0]),
        "r"(b.word[1]));
}

namespace internal {

__device__ __forceinline__ void mma_f16_m16n8k16(float (&c)[4],
                                                 const std::uint32_t (&a)[4],
                                                 const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Two bytes to two halves.
__device__ __forceinline__ std::uint32_t widen(std::uint32_t two, E4m3Operand) {
  std::uint32_t halves;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(static_cast<unsigned short>(two)));
  return halves;
}
__device__ __forceinline__ std::uint32_t widen(std::uint32_t two, E2m1Operand) {
  const std::uint32_t spread = (two & 0xFFU) | ((two & 0xFF00U) << 8);
  const std::uint32_t tiny = ((spread & 0x00200020U) << 10) | ((spread & 0x001C001CU) << 7);
  // The bits read as half are the value times 2^-14.
  const __half2 scaled =
      __hmul2(*reinterpret_cast<const __half2*>(&tiny), __half2half2(__ushort_as_half(0x7400)));
  return *reinterpret_cast<const std::uint32_t*>(&scaled);
}

__device__ __forceinline__ float power_of_two(std::uint32_t biased_sum) {
  // 2^(a - 127) * 2^(b - 127) as two factors, each of which fp32 can hold.
  const std::uint32_t a = biased_sum & 0xFFFFU;
  const std::uint32_t b = biased_sum >> 16;
  const float fa = a == 0 ? __uint_as_float(0x00400000U) : __uint_as_float(a << 23);
  const float fb = b == 0 ? __uint_as_float(0x00400000U) : __uint_as_float(b << 23);
  return __fmul_rn(fa, fb);
}

template <class TypeA, class TypeB>
__device__ __forceinline__ void mma_scaled_by_f16(float (&c)[4],
                                                  const Words<4>& a,
                                                  const Words<2>& b,
                                                  std::uint32_t scale_a,
                                                  std::uint32_t scale_b) {
  float sum[4] = {0, 0, 0, 0};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    // Both operands take the same permutation of k, so the sum over k is the same sum.
    const std::uint32_t upper = a.word[2 * half];
    const std::uint32_t lower = a.word[2 * half + 1];
    const std::uint32_t fa[4] = {widen(upper & 0xFFFFU, TypeA{}),
                                 widen(lower & 0xFFFFU, TypeA{}),
                                 widen(upper >> 16, TypeA{}),
                                 widen(lower >> 16, TypeA{})};
    const std::uint32_t fb[2] = {widen(b.word[half] & 0xFFFFU, TypeB{}),
                                 widen(b.word[half] >> 16, TypeB{})};
    mma_f16_m16n8k16(sum, fa, fb);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const Cell cell = Accumulator16x8::At(lane_index(), i);
    const std::uint32_t sa = shuffle_from(scale_a, ScaleLaneOfRow(cell.row)) & 0xFFU;
    const std::uint32_t sb = shuffle_from(scale_b, ScaleLaneOfColumn(cell.column)) & 0xFFU;
    c[i] = __fmaf_rn(sum[i], power_of_two(sa | sb << 16), c[i]);
  }
}

}  // namespace internal

// c += 2^(sa - 127) 2^(sb - 127) a b over 32 elements of k. The scale bytes are read from the lanes
// that ScaleLaneOfRow and ScaleLaneOfColumn name.
__device__ __forceinline__ void mma_scaled_m16n8k32(float (&c)[4],
                                                    const Words<4>& a,
                                                    const Words<2>& b,
                                                    std::uint32_t scale_a,
                                                    std::uint32_t scale_b,
                                                    E4m3Operand) {
#if defined(SIMT_HAS_BLOCK_SCALED_MMA)
  asm("mma.sync.aligned.m16n8k32.row.col.kind::mxf8f6f4.block_scale.scale_vec::1X"
      ".f32.e4m3.e4m3.f32.ue8m0 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3}, "
      "{%10}, {0, 0}, {%11}, {0, 0};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.word[0]),
        "r"(a.word[1]),
        "r"(a.word[2]),
        "r"(a.word[3]),
        "r"(b.word[0]),
        "r"(b.word[1]),
        "r"(scale_a),
        "r"(scale_b));
#else
  internal::mma_scaled_by_f16<E4m3Operand, E4m3Operand>(c, a, b, scale_a, scale_b);
#endif
}
__device__ __forceinline__ void mma_scaled_m16n8k32(float (&c)[4],
                                                    const Words<4>& a,
                                                    const Words<2>& b,
                                                    std::uint32_t scale_a,
                                                    std::uint32_t scale_b,
                                                    E2m1Operand) {
#if defined(SIMT_HAS_BLOCK_SCALED_MMA)
  asm("mma.sync.aligned.m16n8k32.row.col.kind::mxf8f6f4.block_scale.scale_vec::1X"
      ".f32.e2m1.e4m3.f32.ue8m0 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3}, "
      "{%10}, {0, 0}, {%11}, {0, 0};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.word[0]),
        "r"(a.word[1]),
        "r"(a.word[2]),
        "r"(a.word[3]),
        "r"(b.word[0]),
        "r"(b.word[1]),
        "r"(scale_a),
        "r"(scale_b));
#else
  internal::mma_scaled_by_f16<E2m1Operand, E4m3Operand>(c, a, b, scale_a, scale_b);
#endif
}

// The same with both operands e2m1 in containers.
__device__ __forceinline__ void mma_scaled_e2m1_m16n8k32(float (&c)[4],
                                                         const Words<4>& a,
                                                         const Words<2>& b,
                                                         std::uint32_t scale_a,
                                                         std::uint32_t scale_b) {
#if defined(SIMT_HAS_BLOCK_SCALED_MMA)
  asm("mma.sync.aligned.m16n8k32.row.col.kind::mxf8f6f4.block_scale.scale_vec::1X"
      ".f32.e2m1.e2m1.f32.ue8m0 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3}, "
      "{%10}, {0, 0}, {%11}, {0, 0};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.word[0]),
        "r"(a.word[1]),
        "r"(a.word[2]),
        "r"(a.word[3]),
        "r"(b.word[0]),
        "r"(b.word[1]),
        "r"(scale_a),
        "r"(scale_b));
#else
  internal::mma_scaled_by_f16<E2m1Operand, E2m1Operand>(c, a, b, scale_a, scale_b);
#endif
}

// A packed word of eight e2m1 codes to two registers of four bytes, the code in bits 5 to 2: the
// low nibbles to the first, the high nibbles to the second. Stored layouts are chosen to suit.
__device__ __forceinline__ Words<2> unpack_e2m1(std::uint32_t packed) {
  return {{(packed & 0x0F0F0F0FU) << 2, (packed >> 2) & 0x3C3C3C3CU}};
}

}  // namespace simt
}  // namespace cuda
}  // namespace sparkspan::kernels
