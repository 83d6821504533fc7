#pragma once

// The dialect in which every CUDA kernel of the project is written: about sixty names that nvcc
// sees as intrinsics and g++ as calls into an emulator. docs/kernels.md lists them with their
// rules. A kernel includes this header only, contains no #ifdef and no asm, and lives in
//   namespace sparkspan::kernels::inline SIMT_TARGET
// so that the two builds of it can be linked into one program.
#if defined(__CUDACC__)
#include "kernels/simt/cuda.h"
#else
#include "kernels/simt/host.h"
#endif

#include "kernels/simt/collective.h"
#include "kernels/simt/convert.h"
