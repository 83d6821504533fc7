#include "kernels/sampling/sampling.cuh"

namespace sparkspan::kernels {

void EmulatePick(const PickArguments& arguments) {
  simt::expect_launched(run_pick(arguments, nullptr));
}
void EmulateAccept(const AcceptArguments& arguments) {
  simt::expect_launched(run_accept(arguments, nullptr));
}

}  // namespace sparkspan::kernels
