#include "tests/unit/kernels/simt/leaves.cuh"

namespace sparkspan::kernels {

int LaunchWarpLeaves(const WarpLeavesArguments& arguments, void* stream) {
  return run_warp_leaves(arguments, stream);
}
int LaunchBulkTiles(const BulkTilesArguments& arguments, void* stream) {
  return run_bulk_tiles(arguments, stream);
}
int LaunchE4m3Product(const E4m3ProductArguments& arguments, void* stream) {
  return run_e4m3_product(arguments, stream);
}

}  // namespace sparkspan::kernels
