#include "kernels/fused/feed_forward.cuh"
#include "kernels/fused/projections.cuh"

namespace sparkspan::kernels {

void EmulateLatents(const LatentsArguments& arguments) {
  simt::expect_launched(run_latents(arguments, nullptr));
}
void EmulateQueries(const QueriesArguments& arguments) {
  simt::expect_launched(run_queries(arguments, nullptr));
}
void EmulateOutput(const OutputArguments& arguments) {
  simt::expect_launched(run_output(arguments, nullptr));
}
void EmulateRoute(const RouteArguments& arguments) {
  simt::expect_launched(run_route(arguments, nullptr));
}
void EmulateExpertsUp(const ExpertsUpArguments& arguments) {
  simt::expect_launched(run_experts_up(arguments, nullptr));
}
void EmulateExpertsDown(const ExpertsDownArguments& arguments) {
  simt::expect_launched(run_experts_down(arguments, nullptr));
}

}  // namespace sparkspan::kernels
