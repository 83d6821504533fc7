#pragma once

// Marks what is compiled for the host and, under nvcc, for the device alike: one text, one
// rounding.
#if defined(__CUDACC__)
#define SPARKSPAN_HOST_DEVICE __host__ __device__
#else
#define SPARKSPAN_HOST_DEVICE
#endif
