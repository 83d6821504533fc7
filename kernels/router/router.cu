#include "kernels/router/router.cuh"

namespace sparkspan::kernels {

int LaunchRouter(const RouterArguments& arguments, void* stream) {
  return run_router(arguments, stream);
}

}  // namespace sparkspan::kernels
