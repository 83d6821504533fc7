#pragma once

#include <cstdio>
#include <cstdlib>
#include <source_location>

#include "kernels/simt/emulator.h"
#include "kernels/simt/grid.h"

// Launching on the emulator: what the <<<>>> of a .cu is there. Shared is the kernel's struct, or
// NoShared.
namespace sparkspan::kernels {
inline namespace emulated {
namespace simt {

struct NoShared {};

// A shape that knows where it was launched, because a pack of arguments lets no parameter follow.
struct PlacedShape {
  GridShape grid;
  std::source_location where;
  PlacedShape(const GridShape& shape,  // NOLINT: implicit
              std::source_location at = std::source_location::current())
      : grid(shape), where(at) {}
};

template <class Shared, class Kernel, class... Arguments>
void launch(const PlacedShape& shape, Kernel kernel, const Arguments&... arguments) {
  emulator::RunGrid({shape.grid,
                     {sizeof(Shared), alignof(Shared)},
                     reinterpret_cast<const void*>(kernel),
                     shape.where},
                    [&] { kernel(arguments...); });
}

// The signature of the CUDA launch, so that a kernel's shape is written once; always returns 0.
template <class Shared, class... Parameters, class... Arguments>
int launch(const PlacedShape& shape,
           void* /*stream*/,
           void (*kernel)(Parameters...),
           const Arguments&... arguments) {
  if (is_empty(shape.grid)) {
    return 0;
  }
  launch<Shared>(shape, kernel, arguments...);
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
