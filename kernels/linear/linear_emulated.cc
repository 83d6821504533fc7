#include "kernels/linear/linear.cuh"

namespace sparkspan::kernels {

void EmulateLinear(const LinearArguments& arguments) {
  run_linear(arguments, nullptr);
}

}  // namespace sparkspan::kernels
