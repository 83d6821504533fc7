#pragma once

namespace sparkspan::kernels {

struct Index3 {
  int x = 1;
  int y = 1;
  int z = 1;
};

// The shape of a launch, for both targets.
struct GridShape {
  Index3 blocks{};
  int threads = 32;        // a multiple of 32, at most 1024
  bool dependent = false;  // programmatic stream serialisation: the kernel says dependency_wait
};

// A step may have no rows for a kernel: such a launch does nothing and succeeds, where CUDA alone
// would refuse it.
constexpr bool is_empty(const GridShape& grid) {
  return grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0;
}

// What a launch returns for arguments beyond a kernel's stated limits: cudaErrorInvalidValue.
constexpr int kInvalidArguments = 1;

}  // namespace sparkspan::kernels
