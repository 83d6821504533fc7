#pragma once

#include "kernels/simt/emulator.h"

// Launching on the emulator: what the <<<>>> of a .cu is there. Shared is the kernel's struct, or
// NoShared.
namespace sparkspan::kernels {
inline namespace emulated {
namespace simt {

struct NoShared {};

template <class Shared, class Kernel, class... Arguments>
void launch(const emulator::GridShape& grid, Kernel kernel, const Arguments&... arguments) {
  emulator::RunGrid(grid, {sizeof(Shared), alignof(Shared)}, [&] { kernel(arguments...); });
}

}  // namespace simt
}  // namespace emulated
}  // namespace sparkspan::kernels
