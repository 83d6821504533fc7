#include "kernels/moe/experts.cuh"
#include "kernels/moe/grouping.cuh"

namespace sparkspan::kernels {

int LaunchGrouping(const GroupingArguments& arguments, void* stream) {
  return run_grouping(arguments, stream);
}
int LaunchGateUp(const GateUpArguments& arguments, void* stream) {
  return run_gate_up(arguments, stream);
}
int LaunchDown(const DownArguments& arguments, void* stream) {
  return run_down(arguments, stream);
}
int LaunchCombine(const CombineArguments& arguments, void* stream) {
  return run_combine(arguments, stream);
}

}  // namespace sparkspan::kernels
