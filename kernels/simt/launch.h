#pragma once

// simt::launch<Shared>(grid, ...) of the target that is being compiled.
#if defined(__CUDACC__)
#include "kernels/simt/cuda_launch.h"
#else
#include "kernels/simt/host_launch.h"
#endif
