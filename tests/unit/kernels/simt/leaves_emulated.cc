#include "tests/unit/kernels/simt/leaves.cuh"

namespace sparkspan::kernels {

void EmulateWarpLeaves(const WarpLeavesArguments& arguments) {
  simt::expect_launched(run_warp_leaves(arguments, nullptr));
}
void EmulateBulkTiles(const BulkTilesArguments& arguments) {
  simt::expect_launched(run_bulk_tiles(arguments, nullptr));
}
void EmulateE4m3Product(const E4m3ProductArguments& arguments) {
  simt::expect_launched(run_e4m3_product(arguments, nullptr));
}

}  // namespace sparkspan::kernels
