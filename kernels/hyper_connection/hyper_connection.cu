#include "kernels/hyper_connection/hyper_connection.cuh"

namespace sparkspan::kernels {

int LaunchMix(const MixArguments& arguments, void* stream) {
  return run_mix(arguments, stream);
}
int LaunchPre(const PreArguments& arguments, void* stream) {
  return run_pre(arguments, stream);
}
int LaunchPost(const PostArguments& arguments, void* stream) {
  return run_post(arguments, stream);
}
int LaunchPostMix(const PostMixArguments& arguments, void* stream) {
  return run_post_mix(arguments, stream);
}

}  // namespace sparkspan::kernels
