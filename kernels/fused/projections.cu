#include "kernels/fused/projections.cuh"

namespace sparkspan::kernels {

int LaunchLatents(const LatentsArguments& arguments, void* stream) {
  return run_latents(arguments, stream);
}
int LaunchQueries(const QueriesArguments& arguments, void* stream) {
  return run_queries(arguments, stream);
}
int LaunchOutput(const OutputArguments& arguments, void* stream) {
  return run_output(arguments, stream);
}

}  // namespace sparkspan::kernels
