#include "kernels/router/router.cuh"

namespace sparkspan::kernels {

void EmulateRouter(const RouterArguments& arguments) {
  run_router(arguments, nullptr);
}

}  // namespace sparkspan::kernels
