#include "kernels/moe/experts.cuh"
#include "kernels/moe/grouping.cuh"

namespace sparkspan::kernels {

void EmulateGrouping(const GroupingArguments& arguments) {
  run_grouping(arguments, nullptr);
}
void EmulateGateUp(const GateUpArguments& arguments) {
  run_gate_up(arguments, nullptr);
}
void EmulateDown(const DownArguments& arguments) {
  run_down(arguments, nullptr);
}
void EmulateCombine(const CombineArguments& arguments) {
  run_combine(arguments, nullptr);
}

}  // namespace sparkspan::kernels
