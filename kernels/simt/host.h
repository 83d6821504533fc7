#pragma once

#define SIMT_TARGET emulated
#define SIMT_DEVICE inline
// SIMT_KERNEL(threads) or SIMT_KERNEL(threads, blocks that must fit an SM). The emulator takes the
// thread count from the launch, which names the same constant.
#define SIMT_KERNEL(...) inline void
// Before a loop over register arrays, which the GPU cannot index at run time.
#define SIMT_UNROLL

#include "kernels/simt/host_copy.h"
#include "kernels/simt/host_lane.h"
#include "kernels/simt/host_math.h"
#include "kernels/simt/host_mma.h"
#include "kernels/simt/host_shared.h"
