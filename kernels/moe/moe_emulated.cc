#include "kernels/moe/experts.cuh"
#include "kernels/moe/grouping.cuh"

namespace sparkspan::kernels {

void EmulateGrouping(const GroupingArguments& arguments) {
  simt::expect_launched(run_grouping(arguments, nullptr));
}
void EmulateGateUp(const GateUpArguments& arguments) {
  simt::expect_launched(run_gate_up(arguments, nullptr));
}
void EmulateDown(const DownArguments& arguments) {
  simt::expect_launched(run_down(arguments, nullptr));
}
void EmulateCombine(const CombineArguments& arguments) {
  simt::expect_launched(run_combine(arguments, nullptr));
}

}  // namespace sparkspan::kernels
