#pragma once

#include <cstdio>
#include <cstdlib>

#include "kernels/simt/emulator.h"
#include "kernels/simt/grid.h"

// Launching on the emulator: what the <<<>>> of a .cu is there. Shared is the kernel's struct, or
// NoShared.
namespace sparkspan::kernels {
inline namespace emulated {
namespace simt {

struct NoShared {};

template <class Shared, class Kernel, class... Arguments>
void launch(const GridShape& grid, Kernel kernel, const Arguments&... arguments) {
  emulator::RunGrid(grid, {sizeof(Shared), alignof(Shared)}, [&] { kernel(arguments...); });
}

// The signature of the CUDA launch, so that a kernel's shape is written once; always returns 0.
template <class Shared, class... Parameters, class... Arguments>
int launch(const GridShape& grid,
           void* /*stream*/,
           void (*kernel)(Parameters...),
           const Arguments&... arguments) {
  emulator::RunGrid(grid, {sizeof(Shared), alignof(Shared)}, [&] { kernel(arguments...); });
  return 0;
}

// Aborts when a launch was refused: a test that ran nothing tests nothing.
inline void expect_launched(int error) {
  if (error != 0) {
    std::fprintf(stderr,
                 "emulator: the launch was refused: arguments beyond the kernel's limits\n");
    std::abort();
  }
}

}  // namespace simt
}  // namespace emulated
}  // namespace sparkspan::kernels
