#include "kernels/linear/linear.cuh"

namespace sparkspan::kernels {

int LaunchLinear(const LinearArguments& arguments, void* stream) {
  return run_linear(arguments, stream);
}
int LaunchLinears(const LinearBatch& batch, void* stream) {
  return run_linears(batch, stream);
}

}  // namespace sparkspan::kernels
