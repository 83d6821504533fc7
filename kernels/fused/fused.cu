#include "kernels/fused/experts.cuh"
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
int LaunchRoute(const RouteArguments& arguments, void* stream) {
  return run_route(arguments, stream);
}
int LaunchExpertsUp(const ExpertsUpArguments& arguments, void* stream) {
  return run_experts_up(arguments, stream);
}
int LaunchExpertsDown(const ExpertsDownArguments& arguments, void* stream) {
  return run_experts_down(arguments, stream);
}

}  // namespace sparkspan::kernels
