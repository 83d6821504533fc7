#pragma once

#include <cuda_runtime.h>

#include "kernels/simt/grid.h"

// Launching on the GPU, with the shared memory that the kernel's struct needs. Returns a
// cudaError_t as int, which the device room turns into a Status.
namespace sparkspan::kernels {
inline namespace cuda {
namespace simt {

struct NoShared {};

template <class Shared, class... Parameters, class... Arguments>
int launch(const GridShape& grid,
           void* stream,
           void (*kernel)(Parameters...),
           const Arguments&... arguments) {
  if (is_empty(grid)) {
    return 0;
  }
  constexpr int kSharedBytesWithoutAsking = 48 * 1024;
  constexpr int kSharedBytes = static_cast<int>(sizeof(Shared));
  if constexpr (kSharedBytes > kSharedBytesWithoutAsking) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
    if (error != cudaSuccess) {
      return error;
    }
  }
  cudaLaunchAttribute serialisation{};
  serialisation.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  serialisation.val.programmaticStreamSerializationAllowed = grid.dependent ? 1 : 0;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(grid.blocks.x),
                        static_cast<unsigned>(grid.blocks.y),
                        static_cast<unsigned>(grid.blocks.z));
  config.blockDim = dim3(static_cast<unsigned>(grid.threads));
  config.dynamicSmemBytes = kSharedBytes;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &serialisation;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

}  // namespace simt
}  // namespace cuda
}  // namespace sparkspan::kernels
