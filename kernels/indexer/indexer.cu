#include "kernels/indexer/top_k.cuh"

namespace sparkspan::kernels {

int LaunchTopK(const TopKArguments& arguments, void* stream) {
  return run_top_k(arguments, stream);
}

}  // namespace sparkspan::kernels
