#include "kernels/sampling/sampling.cuh"

namespace sparkspan::kernels {

void EmulatePick(const PickArguments& arguments) {
  run_pick(arguments, nullptr);
}
void EmulateAccept(const AcceptArguments& arguments) {
  run_accept(arguments, nullptr);
}

}  // namespace sparkspan::kernels
