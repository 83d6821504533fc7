#include "kernels/fused/feed_forward.cuh"

namespace sparkspan::kernels {

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
