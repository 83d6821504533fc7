#include "kernels/linear/linear.cuh"

namespace sparkspan::kernels {

void EmulateLinear(const LinearArguments& arguments) {
  simt::expect_launched(run_linear(arguments, nullptr));
}
void EmulateLinears(const LinearBatch& batch) {
  simt::expect_launched(run_linears(batch, nullptr));
}

}  // namespace sparkspan::kernels
