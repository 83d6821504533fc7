#include "kernels/linear/linear.cuh"

namespace sparkspan::kernels {

void EmulateLinear(const LinearArguments& arguments) {
  run_linear(arguments, nullptr);
}
void EmulateLinears(const LinearBatch& batch) {
  run_linears(batch, nullptr);
}

}  // namespace sparkspan::kernels
