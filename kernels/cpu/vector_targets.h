#pragma once

// Which instruction sets Highway compiles the vectorised kernels for. Those without fused
// multiply-add would round otherwise than those with it, and vectors whose width the compiler does
// not know cannot be members of arrays.
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)

// Highway always compiles a fallback. With g++ 12.2 it would take the one of a single lane, which
// cannot hold these kernels, because that compiler may miscompile the other; VectorArithmetic is
// refused where only the fallback could run, so either would do.
#define HWY_BROKEN_EMU128 0
