#include "kernels/linear/linear.cuh"

namespace sparkspan::kernels {

int LaunchLinear(const LinearArguments& arguments, void* stream) {
  return run_linear(arguments, stream);
}

}  // namespace sparkspan::kernels
