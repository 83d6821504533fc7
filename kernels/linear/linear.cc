#include "kernels/linear/linear.h"

namespace sparkspan::kernels {

std::int64_t LinearWeightBytes(const LinearArguments& arguments) {
  return static_cast<std::int64_t>(
      PreparedBytes(arguments.weight_format, arguments.n, arguments.k) +
      PreparedScaleBytes(arguments.weight_format, arguments.n, arguments.k));
}

}  // namespace sparkspan::kernels
