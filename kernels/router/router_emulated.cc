#include "kernels/router/router.cuh"

namespace sparkspan::kernels {

void EmulateRouter(const RouterArguments& arguments) {
  simt::expect_launched(run_router(arguments, nullptr));
}

}  // namespace sparkspan::kernels
