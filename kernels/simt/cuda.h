#pragma once

#define SIMT_TARGET cuda
#define SIMT_DEVICE __device__ __forceinline__
#define SIMT_KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)
#define SIMT_UNROLL _Pragma("unroll")

#include "kernels/simt/cuda_copy.h"
#include "kernels/simt/cuda_lane.h"
#include "kernels/simt/cuda_math.h"
#include "kernels/simt/cuda_mma.h"
#include "kernels/simt/cuda_shared.h"
