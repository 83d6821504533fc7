#include "kernels/norm/rms_norm.cuh"

namespace sparkspan::kernels {

int LaunchRmsNorm(const RmsNormArguments& arguments, void* stream) {
  return run_rms_norm(arguments, stream);
}
int LaunchQuantize(const QuantizeArguments& arguments, void* stream) {
  return run_quantize(arguments, stream);
}

}  // namespace sparkspan::kernels
