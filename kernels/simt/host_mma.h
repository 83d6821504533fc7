#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/simt/emulator.h"
#include "kernels/simt/fragment.h"
#include "kernels/simt/host_lane.h"
#include "kernels/simt/host_shared.h"

// Tensor-core leaves, emulated from the fragment layouts: products in order of k, each rounded to
// fp32 once (all products of these types are exact), which the hardware matches within the
// tolerance that docs/kernels.md states.
namespace sparkspan::kernels {
inline namespace emulated {
namespace simt {

struct E4m3Operand {};
struct E2m1Operand {};

namespace internal {

struct MmaArgument {
  const std::uint32_t* a;
  const std::uint32_t* b;
  float* c;
  std::uint32_t scale_a;
  std::uint32_t scale_b;
};

// What the warp multiplies, each kind defined in host_mma.cc.
void CombineBf16(void* const* arguments);
void CombineE4m3(void* const* arguments);
void CombineScaledE4m3(void* const* arguments);
void CombineScaledE2m1(void* const* arguments);
void CombineScaledBothE2m1(void* const* arguments);

struct MatrixArgument {
  const void* row;
  Words<4> result;
};
void CombineMatrix(void* const* arguments);
void CombineMatrixTransposed(void* const* arguments);

}  // namespace internal

// Four 8 x 8 matrices of 16-bit elements; lane l names row l % 8 of matrix l / 8.
template <class T>
Words<4> load_matrix_x4(SharedPointer<T> row) {
  emulator::CheckAlignment(row.address, 16, row.where);
  emulator::TouchShared(row.address, 16, emulator::Touching::kRead, row.where);
  internal::MatrixArgument mine{row.address, {}};
  emulator::WarpCollective("load_matrix", false, &mine, internal::CombineMatrix, row.where);
  return mine.result;
}
template <class T>
Words<4> load_matrix_transposed_x4(SharedPointer<T> row) {
  emulator::CheckAlignment(row.address, 16, row.where);
  emulator::TouchShared(row.address, 16, emulator::Touching::kRead, row.where);
  internal::MatrixArgument mine{row.address, {}};
  emulator::WarpCollective(
      "load_matrix", false, &mine, internal::CombineMatrixTransposed, row.where);
  return mine.result;
}

inline void mma_bf16_m16n8k16(float (&c)[4],
                              const Words<4>& a,
                              const Words<2>& b,
                              Where where = Where::current()) {
  internal::MmaArgument mine{a.word, b.word, c, 0, 0};
  emulator::WarpCollective("mma", false, &mine, internal::CombineBf16, where);
}
inline void mma_e4m3_m16n8k32(float (&c)[4],
                              const Words<4>& a,
                              const Words<2>& b,
                              Where where = Where::current()) {
  internal::MmaArgument mine{a.word, b.word, c, 0, 0};
  emulator::WarpCollective("mma", false, &mine, internal::CombineE4m3, where);
}
inline void mma_scaled_m16n8k32(float (&c)[4],
                                const Words<4>& a,
                                const Words<2>& b,
                                std::uint32_t scale_a,
                                std::uint32_t scale_b,
                                E4m3Operand,
                                Where where = Where::current()) {
  internal::MmaArgument mine{a.word, b.word, c, scale_a, scale_b};
  emulator::WarpCollective("mma", false, &mine, internal::CombineScaledE4m3, where);
}
inline void mma_scaled_m16n8k32(float (&c)[4],
                                const Words<4>& a,
                                const Words<2>& b,
                                std::uint32_t scale_a,
                                std::uint32_t scale_b,
                                E2m1Operand,
                                Where where = Where::current()) {
  internal::MmaArgument mine{a.word, b.word, c, scale_a, scale_b};
  emulator::WarpCollective("mma", false, &mine, internal::CombineScaledE2m1, where);
}

// Both operands e2m1 in containers.
inline void mma_scaled_e2m1_m16n8k32(float (&c)[4],
                                     const Words<4>& a,
                                     const Words<2>& b,
                                     std::uint32_t scale_a,
                                     std::uint32_t scale_b,
                                     Where where = Where::current()) {
  internal::MmaArgument mine{a.word, b.word, c, scale_a, scale_b};
  emulator::WarpCollective("mma", false, &mine, internal::CombineScaledBothE2m1, where);
}

inline Words<2> unpack_e2m1(std::uint32_t packed) {
  return {{(packed & 0x0F0F0F0FU) << 2, (packed >> 2) & 0x3C3C3C3CU}};
}

}  // namespace simt
}  // namespace emulated
}  // namespace sparkspan::kernels
